"""Studies -> cache: decoded and resized once, by all cores, resumable after a kill.

The cache grows in its `partial_folder` and takes its place when complete. Each worker writes its rows
straight into the array files, so memory does not grow with the number of images.
"""

import errno
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from pneumothorax import interrupts
from pneumothorax.data import annotations, cache_build, dicom, rle
from pneumothorax.data.cache import Cache, open_cache, shrink
from pneumothorax.data.coverage import MUCH
from pneumothorax.data.workers import hidden_main, open_pool
from pneumothorax.errors import UserError
from pneumothorax.workspace import locked, partial_folder

CHUNK = 16  # studies a worker takes at a time
MOMENT = 0.5  # seconds between two looks for a Ctrl-C

Chunk = list[tuple[int, str, tuple[str, ...], str]]  # row, path, codes, path of the mask
Outcome = list[tuple[int, dict[str, Any]]]  # row, and its record or error


class BadImagesError(UserError):
    """Some images could not be read; the good ones stay for the next try."""


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

    Waits for another command that prepares at the same place. A damaged cache is built again.

    Args:
        table: Studies with ImageId, path, codes and mask_path (see `studies.Studies`).
        folder: The cache's folder; replaced when its inputs changed.
        size: Side in pixels.
        interpolation: 'bilinear', 'bicubic' or 'area'.
        workers: Number of processes; all cores when None.
        skip_bad: Leave out unreadable images, instead of failing in the end.

    Raises:
        BadImagesError: Some images could not be read; each is named. The rest stays done.
        UserError: There is no study, or the disk is too small.
    """
    if table.empty:
        raise UserError(f"no study to prepare for {folder}", "at least one image")
    if workers is not None and workers < 1:
        raise UserError(f"workers = {workers}", "1 or more")
    table = table.assign(digest=cache_build.digest_studies(table))
    fingerprint = cache_build.digest_cache(table, size, interpolation)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent, f"another command prepares images in {folder.parent}"):
        if cache := cache_build.find_current(folder, table, size, fingerprint, skip_bad):
            return cache
        build = partial_folder(folder)
        try:
            cache_build.reserve(build, len(table), size, interpolation)
            records = cache_build.read_log(build, table["digest"].tolist())
            todo = [row for row in range(len(table)) if row not in records]
            with interrupts.checked_loop():
                records.update(_work(table, todo, build, size, interpolation, workers))
            bad = sum("error" in record for record in records.values())
            if bad and not skip_bad:
                raise BadImagesError(
                    f"{bad} of {len(table)} images could not be read",
                    "images that can be decoded",
                    "mend them and run the same command again, or leave them out with --skip-bad",
                )
            cache_build.finish(build, folder, table, records, fingerprint)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_space(folder, len(table), size) from None
            raise
        except BrokenProcessPool:
            raise UserError(
                f"a process that prepares {folder} was killed",
                "enough memory for all of them",
                "run the same command again with fewer --workers; prepared images stay",
            ) from None
        return open_cache(folder)


def _work(
    table: pd.DataFrame, todo: list[int], build: Path, size: int, interpolation: str, workers: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Prepare the studies of the given rows in parallel; log and yield each when done."""
    digests = table["digest"].tolist()
    rows = list(table[["path", "codes", "mask_path"]].itertuples(index=False, name=None))
    chunks = [[(row, *rows[row]) for row in todo[at : at + CHUNK]] for at in range(0, len(todo), CHUNK)]
    task = partial(_prepare_chunk, build=build, size=size, interpolation=interpolation)
    processes = min(workers or os.cpu_count() or 1, max(len(chunks), 1))
    one_by_one = (task(chunk) for chunk in chunks)
    outcomes = one_by_one if processes == 1 else _in_parallel(task, chunks, processes)
    log = (build / cache_build.LOG).open("a", encoding="utf-8")
    begun = len(table) - len(todo)
    bar = tqdm(total=len(table), initial=begun, unit="image", desc=f"prepare {size} px", disable=None)
    with log, bar, closing(outcomes):
        for outcome in outcomes:
            for row, record in outcome:
                if warning := record.pop("warning", ""):
                    bar.write(f"warning: {warning}", file=sys.stderr)
                log.write(json.dumps({"row": row, "digest": digests[row], **record}) + "\n")
                if "error" in record:
                    bar.write(str(record["error"]), file=sys.stderr)
                yield row, record
                bar.update()
            log.flush()
            interrupts.check()


def _in_parallel(task: Callable[[Chunk], Outcome], chunks: list[Chunk], processes: int) -> Generator[Outcome]:
    """Yield the outcome of each chunk when done, in any order."""
    with open_pool(processes, "forkserver", _start_worker) as pool:
        try:
            with hidden_main():
                waiting = {pool.submit(task, chunk) for chunk in chunks}
            while waiting:
                done, waiting = wait(waiting, MOMENT, FIRST_COMPLETED)
                yield from (one.result() for one in done)
                interrupts.check()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Make a worker single-threaded, deaf to Ctrl-C (its parent handles that), and mortal with its parent."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End when the parent does: the workers of a killed command would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare_chunk(chunk: Chunk, build: Path, size: int, interpolation: str) -> Outcome:
    """Prepare some studies, in a worker: write their array rows, return their records."""
    done: Outcome = []
    # Written, not mapped: a full disk is an OSError then, where a mapped file would crash.
    offset = np.load(build / "images.npy", mmap_mode="r").offset  # the same in both
    with (build / "images.npy").open("r+b", 0) as images, (build / "masks.npy").open("r+b", 0) as masks:
        for row, path, codes, mask_path in chunk:
            try:
                radiograph = dicom.read_radiograph(Path(path))
                mask = _true_mask(radiograph, codes, mask_path)
            except UserError as error:
                done.append((row, {"error": str(error)}))
                continue
            image = shrink(radiograph.pixels, size, interpolation)
            place = offset + row * size * size
            os.pwrite(images.fileno(), image.tobytes(), place)
            if mask is not None:
                soft = shrink(mask * np.uint8(255), size, interpolation)
                os.pwrite(masks.fileno(), soft.tobytes(), place)
            elif os.pread(masks.fileno(), size * size, place).strip(b"\0"):  # an older try had a mask
                os.pwrite(masks.fileno(), bytes(size * size), place)
            record = _record(radiograph, mask)
            if radiograph.covered > MUCH:
                record["warning"] = f"{path}: {radiograph.covered:.0%} is no image by its own file"
            done.append((row, record))
    return done


def _true_mask(radiograph: dicom.Radiograph, codes: tuple[str, ...], mask_path: str) -> rle.Mask | None:
    """Draw the mask of a study at full size; None if it is empty or unknown.

    Raises:
        UserError: Its shape differs from the image's.
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
    """Return the row of studies.csv for one study."""
    row_mm, column_mm = radiograph.spacing_mm or ("", "")
    height, width = radiograph.pixels.shape
    return {
        "EncodedPixels": rle.EMPTY if mask is None else rle.encode(mask),
        "area": 0 if mask is None else int(np.count_nonzero(mask)),
        "height": height,
        "width": width,
        "view": radiograph.view or "",
        "sex": radiograph.sex or "",
        "age": "" if radiograph.age is None else radiograph.age,
        "patient": radiograph.patient_id or "",
        "spacing_row_mm": row_mm,
        "spacing_column_mm": column_mm,
    }


def _no_space(folder: Path, count: int, size: int) -> UserError:
    needed = 2 * count * size * size
    parent = next(path for path in folder.parents if path.exists())
    free = shutil.disk_usage(parent).free
    return UserError(
        f"the disk of {folder} is full ({free / 1e6:,.0f} MB free)",
        f"about {needed / 1e6:,.0f} MB",
        "free some, or choose another --root; prepared images stay",
    )
