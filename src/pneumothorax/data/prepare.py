"""Studies -> cache: decoded and resized once, by all cores, resumable after a kill.

The cache is built beside its place and renamed when complete. Each worker writes its rows straight into the
array files, so memory does not grow with the number of images.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from pneumothorax.data import annotations, dicom, rle
from pneumothorax.data.cache import Cache, open_cache, shrink
from pneumothorax.errors import UserError
from pneumothorax.workspace import write_text

FORMAT = 1  # raised whenever the same studies would give other arrays
CHUNK = 16  # studies a worker takes at a time


class BadImagesError(UserError):
    """Some images could not be read; the good ones are kept for the next try."""


def prepare(
    table: pd.DataFrame,
    folder: Path,
    size: int,
    interpolation: str,
    *,
    workers: int | None = None,
    skip_bad: bool = False,
) -> Cache:
    """Decode and resize studies once; skipped when the inputs are unchanged, resumed after a kill.

    Args:
        table: Studies with ImageId, path, codes and mask_path (see `studies.Studies`).
        folder: The cache's folder; replaced when its inputs changed.
        size: Side in pixels.
        interpolation: 'bilinear', 'bicubic' or 'area'.
        workers: Processes; all cores when None.
        skip_bad: Leave out images that cannot be read, instead of failing in the end.

    Raises:
        BadImagesError: Some images could not be read; each is named. The rest stays done.
        UserError: There is no study, or the disk is too small.
    """
    if table.empty:
        raise UserError(f"no study to prepare for {folder}", "at least one image")
    fingerprint = _fingerprint(table, size, interpolation)
    if _is_current(folder, fingerprint, skip_bad):
        return open_cache(folder)
    build = folder.with_name(folder.name + ".partial")
    try:
        _reserve(build, fingerprint, len(table), size)
        records = _read_log(build)
        todo = [row for row in range(len(table)) if row not in records or "error" in records[row]]
        for row, record in _work(table, todo, build, size, interpolation, workers):
            records[row] = record
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(folder, len(table), size) from None
        raise
    bad = [str(records[row]["error"]) for row in sorted(records) if "error" in records[row]]
    if bad and not skip_bad:
        raise BadImagesError(
            f"{len(bad)} of {len(table)} images could not be read",
            "images that can be decoded",
            "mend them and run the same command again, or leave them out with --skip-bad",
        )
    _finish(build, folder, table, records, fingerprint)
    return open_cache(folder)


def _fingerprint(table: pd.DataFrame, size: int, interpolation: str) -> str:
    """Digest everything that the arrays depend on; a file counts by its path, size and time of change."""
    digest = hashlib.sha256(f"{FORMAT} {size} {interpolation}".encode())
    columns = table[["ImageId", "codes", "path", "mask_path"]].itertuples(index=False, name=None)
    for image_id, codes, *paths in columns:
        digest.update(repr((image_id, codes)).encode())
        for path in filter(None, paths):
            state = Path(path).stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


def _is_current(folder: Path, fingerprint: str, skip_bad: bool) -> bool:
    path = folder / "cache.json"
    if not path.is_file():
        return False
    made = json.loads(path.read_text(encoding="utf-8"))
    return made["fingerprint"] == fingerprint and (skip_bad or not made["skipped"])


def _reserve(build: Path, fingerprint: str, count: int, size: int) -> None:
    """Make the array files at their full length, unless a killed run of the same inputs left them.

    The blocks are allocated at once: a full disk is then an error here, and not a crash in a worker.
    """
    mark = build / "building.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8"))["fingerprint"] == fingerprint:
        return
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    try:
        for name in ("images.npy", "masks.npy"):
            with (build / name).open("wb") as file:
                _write_header(file, count, size)
                os.posix_fallocate(file.fileno(), 0, file.tell() + count * size * size)
        write_text(mark, json.dumps({"fingerprint": fingerprint}))
    except OSError:
        shutil.rmtree(build, ignore_errors=True)
        raise


def _write_header(file: Any, count: int, size: int) -> None:
    """Write the .npy header of a uint8 array of shape (count, size, size)."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    np.lib.format.write_array_header_1_0(file, header)


def _work(
    table: pd.DataFrame, todo: list[int], build: Path, size: int, interpolation: str, workers: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Prepare the studies of the given rows in parallel; log and yield each as it is done."""
    rows = list(table[["path", "codes", "mask_path"]].itertuples(index=False, name=None))
    chunks = [[(row, *rows[row]) for row in todo[at : at + CHUNK]] for at in range(0, len(todo), CHUNK)]
    log = (build / "log.jsonl").open("a", encoding="utf-8")
    pool = ProcessPoolExecutor(
        min(workers or os.cpu_count() or 1, max(len(chunks), 1)),
        mp_context=get_context("forkserver"),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    )
    bar = tqdm(total=len(table), initial=len(table) - len(todo), unit="image", desc=f"prepare {size} px")
    with log, pool, bar:
        tasks = [pool.submit(_prepare_chunk, chunk, build, size, interpolation) for chunk in chunks]
        try:
            for task in as_completed(tasks):
                for row, record in task.result():
                    log.write(json.dumps({"row": row, **record}) + "\n")
                    if "error" in record:
                        bar.write(str(record["error"]), file=bar.fp)
                    yield row, record
                    bar.update()
                log.flush()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare_chunk(
    chunk: list[tuple[int, str, tuple[str, ...], str]], build: Path, size: int, interpolation: str
) -> list[tuple[int, dict[str, Any]]]:
    """Prepare some studies, in a worker: write their array rows, return what is known of them."""
    done: list[tuple[int, dict[str, Any]]] = []
    with (build / "images.npy").open("r+b", 0) as images, (build / "masks.npy").open("r+b", 0) as masks:
        offsets = [np.lib.format.read_magic(file) and _data_offset(file) for file in (images, masks)]
        for row, path, codes, mask_path in chunk:
            try:
                radiograph = dicom.read_radiograph(Path(path))
                mask = _true_mask(radiograph, codes, mask_path)
            except UserError as error:
                done.append((row, {"error": str(error)}))
                continue
            image = shrink(radiograph.pixels, size, interpolation)
            os.pwrite(images.fileno(), image.tobytes(), offsets[0] + row * size * size)
            if mask is not None:  # the file holds zeros already
                soft = shrink(mask * np.uint8(255), size, interpolation)
                os.pwrite(masks.fileno(), soft.tobytes(), offsets[1] + row * size * size)
            done.append((row, _record(radiograph, mask)))
    return done


def _data_offset(file: Any) -> int:
    """Return where the array of an .npy file begins, its magic having been read."""
    np.lib.format.read_array_header_1_0(file)
    return int(file.tell())


def _true_mask(radiograph: dicom.Radiograph, codes: tuple[str, ...], mask_path: str) -> rle.Mask | None:
    """Draw the mask of a study at full size; None where it is empty or unknown.

    Raises:
        UserError: It has not the image's shape.
    """
    if mask_path:
        mask = (dicom.read_radiograph(Path(mask_path)).pixels > 127).astype(np.uint8)
    elif codes:
        mask = annotations.draw_union(codes)
    else:
        return None
    if mask.shape != radiograph.pixels.shape:
        found, wanted = ("x".join(map(str, array.shape)) for array in (mask, radiograph.pixels))
        raise UserError(
            f"image {radiograph.image_id} has a mask of {found} pixels", f"its own size, {wanted}"
        )
    return mask if mask.any() else None


def _record(radiograph: dicom.Radiograph, mask: rle.Mask | None) -> dict[str, Any]:
    """Gather what studies.csv says of one study."""
    known = asdict(radiograph)
    row_mm, column_mm = radiograph.spacing_mm or ("", "")
    height, width = radiograph.pixels.shape
    return {
        "EncodedPixels": rle.EMPTY if mask is None else rle.encode(mask),
        "area": 0 if mask is None else int(np.count_nonzero(mask)),
        "height": height,
        "width": width,
        "view": known["view"] or "",
        "sex": known["sex"] or "",
        "age": "" if known["age"] is None else known["age"],
        "patient": known["patient_id"] or "",
        "spacing_row_mm": row_mm,
        "spacing_column_mm": column_mm,
    }


def _read_log(build: Path) -> dict[int, dict[str, Any]]:
    """Read what a killed run has done; a line cut short by the kill does not count."""
    records: dict[int, dict[str, Any]] = {}
    path = build / "log.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        records[record.pop("row")] = record
    return records


def _finish(
    build: Path, folder: Path, table: pd.DataFrame, records: dict[int, dict[str, Any]], fingerprint: str
) -> None:
    """Leave out bad rows, write the table and move the finished cache into place."""
    good = [row for row in range(len(table)) if "error" not in records[row]]
    if not good:
        raise UserError(f"none of {len(table)} images could be read", "at least one good image")
    if len(good) < len(table):
        for name in ("images.npy", "masks.npy"):
            _keep_rows(build / name, good)
    known = pd.DataFrame([records[row] for row in good])
    studies = pd.concat([table[["ImageId", "path"]].iloc[good].reset_index(drop=True), known], axis=1)
    write_text(build / "studies.csv", studies.to_csv(index=False))
    skipped = [str(table["ImageId"].iloc[row]) for row in range(len(table)) if "error" in records[row]]
    write_text(build / "cache.json", json.dumps({"fingerprint": fingerprint, "skipped": skipped}, indent=2))
    for name in ("building.json", "log.jsonl"):
        (build / name).unlink()
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)


def _keep_rows(path: Path, rows: list[int]) -> None:
    """Rewrite an array file with some of its rows."""
    array = np.load(path, mmap_mode="r")
    kept = path.with_suffix(".kept")
    with kept.open("wb") as file:
        _write_header(file, len(rows), array.shape[1])
        for row in rows:
            file.write(array[row].tobytes())
    kept.replace(path)


def _no_space(folder: Path, count: int, size: int) -> UserError:
    needed = 2 * count * size * size
    parent = next(path for path in folder.parents if path.exists())
    free = shutil.disk_usage(parent).free
    return UserError(
        f"the disk of {folder} is full ({free / 1e6:,.0f} MB free)",
        f"about {needed / 1e6:,.0f} MB",
        "free some, or choose another --root; what is prepared stays",
    )
