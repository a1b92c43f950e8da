"""Write a small artificial competition in the real one's exact format: DICOM trees, CSV files and the truth.

For tests, demonstrations and first steps without Kaggle's data. Illness and patients depend on
the seed and an image's number alone, so neither the number of workers nor the total changes an image. It
writes files and knows no anatomy: `anatomy` draws.
"""

import json
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.data.columns import SUBMITTED
from pneumothorax.data.workers import hidden_main, open_pool
from pneumothorax.errors import UserError
from pneumothorax.phantom.anatomy import draw_radiograph
from pneumothorax.phantom.dicom_writer import Label, write_capture
from pneumothorax.phantom.findings import FINDINGS, draw_findings
from pneumothorax.workspace import replace_folder, write_text

VERSION = 2  # of the generated data: raise it when a seed gives other bytes
TRAIN, TEST, ILL, PATIENTS, ORDER, HARD = range(6)  # one random stream each

_ROOT = "1.2.276.0.7230010.3.1"
_EPOCH = 1900000000  # years after the real files: an artificial id is never a real one
_SPACINGS_MM = (0.143, 0.168, 0.139, 0.171, 0.194311, 0.1988)
_SPACING_SHARES = (0.39, 0.30, 0.18, 0.075, 0.05, 0.005)
_BLOCK, _ILL = 9, 2  # of every nine images two are positive: 22.2 %
_UNMARKED = 0.0035  # of the train images have no row


@dataclass(frozen=True)
class _Job:
    """One image to make: its number within its split, and its patient (train only)."""

    split: int
    number: int
    patient: int = 0


@dataclass(frozen=True)
class _Made:
    """One finished image: its ImageId, its rows' run-length codes, and its mimics of a pneumothorax."""

    image_id: str
    codes: list[str]
    findings: tuple[str, ...]


def make_competition(
    folder: Path,
    *,
    train: int = 240,
    test: int = 60,
    seed: int = 0,
    area_scale: float = 1.0,
    hard_share: float = 0.0,
    workers: int | None = None,
) -> None:
    """Write an artificial competition; does nothing if the same one is already there.

    It writes ``raw`` (DICOM files and CSV files as Kaggle's; it appears last, complete), ``truth.csv`` (the
    test set's annotation), ``findings.csv`` (the mimics of a pneumothorax in each image, of either set) and
    ``phantom.json``. Leftovers of a killed call are made again.

    Args:
        folder: Output folder; created on demand.
        train: Number of train images, 8 or more.
        test: Number of test images, 1 or more.
        seed: 0 or more; the same seed gives the same bytes.
        area_scale: Multiplies the areas; 1 spreads them like the real ones, more is easier to see.
        hard_share: Share of the images with one or more findings that mimic a pneumothorax, 0 to 1; an
            image without any is the same for any share.
        workers: Number of processes; all cores when None.

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
    if not 0 <= hard_share <= 1:
        raise UserError(f"hard_share = {hard_share}", "0 to 1")
    wanted = {"train": train, "test": test, "seed": seed, "area_scale": area_scale}
    wanted |= {"hard_share": hard_share, "version": VERSION}
    if _is_made(folder, wanted):
        return
    jobs = [_Job(TRAIN, number, patient) for number, patient in enumerate(_patients(seed, train))]
    jobs += [_Job(TEST, number) for number in range(test)]
    with replace_folder(folder / "raw") as work:
        made = _make_images(work, jobs, seed, area_scale, hard_share, workers)
        found = [(image.image_id, image.codes) for image in made]
        annotated = _annotate(found[:train], seed)
        _write_csv(
            work / "train-rle.csv",
            ", ".join(SUBMITTED),
            [(name, f" {code}") for name, code in annotated],
        )
        names = sorted(name for name, _ in found[train:])
        _write_csv(
            work / "stage_2_sample_submission.csv",
            ",".join(SUBMITTED),
            [(n, rle.EMPTY) for n in names],
        )
        truth = [(name, code) for name, codes in sorted(found[train:]) for code in codes]
        _write_csv(folder / "truth.csv", ",".join(SUBMITTED), truth)
        seen = [(image.image_id, " ".join(image.findings)) for image in made]
        _write_csv(folder / "findings.csv", "ImageId,findings", sorted(seen))
        write_text(folder / "phantom.json", json.dumps(wanted) + "\n")


def _is_made(folder: Path, wanted: dict[str, float]) -> bool:
    """Return whether the wanted competition lies in a folder, which may hold nothing else."""
    stamp, raw = folder / "phantom.json", folder / "raw"
    if stamp.is_file():
        try:
            found = json.loads(stamp.read_text())
        except (ValueError, RecursionError):
            found = "unreadable text"
        if found == wanted:
            return raw.exists()
        raise UserError(f"{stamp} says {found}", str(wanted), f"name another folder or delete {folder}")
    if raw.exists():
        raise UserError(
            f"{raw}, which is not an artificial competition", "an empty folder", "name another folder"
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
    raw: Path, jobs: list[_Job], seed: int, area_scale: float, hard_share: float, workers: int | None
) -> list[_Made]:
    """Make every image, in parallel; returns them in the jobs' order."""
    make = partial(_make_image, raw, seed, area_scale, hard_share)
    bar = partial(tqdm, total=len(jobs), desc="phantom", unit="image", disable=None)
    if workers == 1:
        return list(bar(map(make, jobs)))
    with open_pool(workers, "spawn", cv2.setNumThreads, 1) as pool:
        with hidden_main():
            made = pool.map(make, jobs, chunksize=4)
        return list(bar(made))


def _make_image(raw: Path, seed: int, area_scale: float, hard_share: float, job: _Job) -> _Made:
    """Draw one image and write its DICOM file."""
    rng = np.random.default_rng([seed, job.split, job.number])
    person = np.random.default_rng([seed, PATIENTS, 1 + job.patient]) if job.split == TRAIN else rng
    name = str(uuid.UUID(bytes=person.bytes(16), version=4))
    sex = "MF"[int(person.random() < 0.45)]
    age = int(np.clip(person.normal(48, 17), 3, 90))
    view = "AP" if rng.random() < 0.39 else "PA"
    ill = _is_ill(seed, job)
    findings = _draw_findings(seed, job, hard_share, ill, view)
    image, masks = draw_radiograph(
        rng, pneumothorax=ill, view=view, sex=sex, area_scale=area_scale, findings=findings
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
        age = 152  # as in one of the real files
    spacing_mm = float(rng.choice(_SPACINGS_MM, p=_SPACING_SHARES))
    write_capture(path, image, Label(image_id, uid, name, study, series, view, sex, age, spacing_mm))
    return _Made(image_id, [rle.encode(mask) for mask in masks] or [rle.EMPTY], tuple(findings))


def _draw_findings(
    seed: int, job: _Job, share: float, ill: bool, view: str
) -> dict[str, np.random.Generator]:
    """Draw the mimics of a pneumothorax in an image; each finding has a random stream of its own."""
    stream = [seed, HARD, job.split, job.number]
    names = draw_findings(np.random.default_rng(stream), share=share, pneumothorax=ill, view=view)
    return {name: np.random.default_rng([*stream, 1 + FINDINGS.index(name)]) for name in names}


def _is_ill(seed: int, job: _Job) -> bool:
    """Return whether an image has a pneumothorax: two of every nine in a row do."""
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
