"""A small artificial competition, in the real one's exact shape: DICOM trees, CSV files and the truth.

For tests, demonstrations and first steps without Kaggle's data. Who is ill and who is whose image follow from
the seed and an image's number alone, so neither the number of workers nor the total changes an image. It
writes files and knows no anatomy: `anatomy` draws.
"""

import json
import shutil
import sys
import uuid
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.data.phantom.anatomy import draw_radiograph
from pneumothorax.data.phantom.capture import Label, write_capture
from pneumothorax.errors import UserError
from pneumothorax.workspace import write_text

VERSION = 1  # of what is drawn and written: raise it when a seed comes to give other bytes
TRAIN, TEST, ILL, PATIENTS, ORDER = range(5)  # one stream of chance each

_ROOT = "1.2.276.0.7230010.3.1"
_EPOCH = 1900000000  # years after the real files: an artificial id is never a real one
_SPACINGS_MM = (0.143, 0.168, 0.139, 0.171, 0.194311, 0.1988)
_SPACING_SHARES = (0.39, 0.30, 0.18, 0.075, 0.05, 0.005)
_BLOCK, _ILL = 9, 2  # of every nine images two are positive: 22.2 %
_UNMARKED = 0.0035  # of the train images have no row


@dataclass(frozen=True)
class _Job:
    """One image to be made: its number within its split, and whose it is (train only)."""

    split: int
    number: int
    patient: int = 0


def make_competition(
    folder: Path,
    *,
    train: int = 240,
    test: int = 60,
    seed: int = 0,
    area_scale: float = 1.0,
    workers: int | None = None,
) -> None:
    """Write an artificial competition; does nothing where the same one lies already.

    It writes ``raw`` (DICOM files and CSV files as Kaggle's; it appears last, complete), ``truth.csv`` (the
    test set's annotation) and ``phantom.json``. What a killed call left is made again.

    Args:
        folder: Where to; made on demand.
        train: Train images, 8 or more.
        test: Test images, 1 or more.
        seed: 0 or more; the same seed gives the same bytes.
        area_scale: Multiplies the areas; 1 spreads them like the real ones, more is easier to see.
        workers: Processes; all cores where None.

    Raises:
        UserError: A bad number, or the folder holds something else.
    """
    for name, value, least in (
        ("train", train, 8),
        ("test", test, 1),
        ("seed", seed, 0),
        ("workers", 1 if workers is None else workers, 1),
    ):
        if value < least:
            raise UserError(f"{name} = {value}", f"{least} or more")
    if not 0.1 <= area_scale <= 10:
        raise UserError(f"area_scale = {area_scale}", "0.1 to 10")
    wanted = {"train": train, "test": test, "seed": seed, "area_scale": area_scale, "version": VERSION}
    if _is_made(folder, wanted):
        return
    work = folder / "raw.partial"
    shutil.rmtree(work, ignore_errors=True)  # what a killed call left
    work.mkdir(parents=True)

    jobs = [_Job(TRAIN, number, patient) for number, patient in enumerate(_patients(seed, train))]
    jobs += [_Job(TEST, number) for number in range(test)]
    found = _make_images(work, jobs, seed, area_scale, workers)
    annotated = _annotate(found[:train], seed)
    _write_csv(
        work / "train-rle.csv",
        "ImageId, EncodedPixels",
        [(name, f" {code}") for name, code in annotated],
    )
    names = sorted(name for name, _ in found[train:])
    _write_csv(
        work / "stage_2_sample_submission.csv",
        "ImageId,EncodedPixels",
        [(n, rle.EMPTY) for n in names],
    )
    truth = [(name, code) for name, codes in sorted(found[train:]) for code in codes]
    _write_csv(folder / "truth.csv", "ImageId,EncodedPixels", truth)
    write_text(folder / "phantom.json", json.dumps(wanted) + "\n")
    work.rename(folder / "raw")


def _is_made(folder: Path, wanted: dict[str, float]) -> bool:
    """Tell whether the wanted competition lies in a folder, which may hold nothing else."""
    stamp, raw = folder / "phantom.json", folder / "raw"
    if stamp.is_file():
        try:
            found = json.loads(stamp.read_text())
        except ValueError:
            found = "unreadable text"
        if found == wanted:
            return raw.exists()
        raise UserError(f"{stamp} says {found}", str(wanted), f"name another folder or delete {folder}")
    if raw.exists():
        raise UserError(
            f"{raw}, which is no artificial competition", "an empty folder", "name another folder"
        )
    return False


def _patients(seed: int, count: int) -> list[int]:
    """Return each train image's patient: about two images each, some with many."""
    rng = np.random.default_rng([seed, PATIENTS])
    owners: list[int] = []
    patient = 0
    while len(owners) < count:
        owners += [patient] * min(int(rng.random() ** -0.6), 61)
        patient += 1
    return owners[:count]


def _make_images(
    raw: Path, jobs: list[_Job], seed: int, area_scale: float, workers: int | None
) -> list[tuple[str, list[str]]]:
    """Make every image, in parallel; returns (ImageId, run-length codes) in the jobs' order."""
    make = partial(_make_image, raw, seed, area_scale)
    bar = partial(tqdm, total=len(jobs), desc="phantom", unit="image", file=sys.stderr)
    if workers == 1:
        return list(bar(map(make, jobs)))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        return list(bar(pool.map(make, jobs, chunksize=4)))


def _make_image(raw: Path, seed: int, area_scale: float, job: _Job) -> tuple[str, list[str]]:
    """Draw one image and write its DICOM file; returns its ImageId and its rows' run-length codes."""
    rng = np.random.default_rng([seed, job.split, job.number])
    person = np.random.default_rng([seed, PATIENTS, 1 + job.patient]) if job.split == TRAIN else rng
    name = str(uuid.UUID(bytes=person.bytes(16), version=4))
    sex = "MF"[int(person.random() < 0.45)]
    age = int(np.clip(person.normal(48, 17), 3, 90))
    view = "AP" if rng.random() < 0.39 else "PA"
    image, masks = draw_radiograph(
        rng, pneumothorax=_is_ill(seed, job), view=view, sex=sex, area_scale=area_scale
    )

    tail = f"8323329.{job.number + 1}.{_EPOCH + job.number // 160}.{int(rng.integers(1, 10**6))}"
    uid, study, series = (f"{_ROOT}.{level}.{tail}" for level in (4, 2, 3))
    if job.split == TRAIN:
        image_id = uid
        path = raw / "dicom-images-train" / study / series / f"{uid}.dcm"
    else:
        image_id = f"ID_{int(rng.integers(16**9)):09x}"
        path = raw / "stage_2_images" / f"{image_id}.dcm"
        name = study = series = ""
    if job.patient == 17:
        age = 152  # as one of the real ones
    spacing_mm = float(rng.choice(_SPACINGS_MM, p=_SPACING_SHARES))
    write_capture(path, image, Label(image_id, uid, name, study, series, view, sex, age, spacing_mm))
    return image_id, [rle.encode(mask) for mask in masks] or [rle.EMPTY]


def _is_ill(seed: int, job: _Job) -> bool:
    """Tell whether an image shows a pneumothorax: two of every nine in a row do."""
    block, place = divmod(job.number, _BLOCK)
    order = np.random.default_rng([seed, ILL, job.split, block]).permutation(_BLOCK)
    return bool(order[place] < _ILL)


def _annotate(found: list[tuple[str, list[str]]], seed: int) -> list[tuple[str, str]]:
    """Return the train rows, shuffled; a few negative images stay without a row."""
    rng = np.random.default_rng([seed, ORDER])
    negative = [name for name, codes in found if codes == [rle.EMPTY]]
    unmarked = set(rng.permutation(negative)[: max(1, round(_UNMARKED * len(found)))].tolist())
    rows = [(name, code) for name, codes in found for code in codes if name not in unmarked]
    return [rows[at] for at in rng.permutation(len(rows))]


def _write_csv(path: Path, header: str, rows: list[tuple[str, str]]) -> None:
    """Write a CSV file in one step."""
    write_text(path, "\n".join([header, *(f"{name},{code}" for name, code in rows)]) + "\n")
