"""The folder in which a cache grows: made, resumed after a kill, and moved into place when complete.

Knows files and their sources; decodes no image.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from pneumothorax.data.cache import (
    ARRAYS,
    REMEDY,
    Cache,
    create_array,
    keep_rows,
    map_array,
    open_cache,
)
from pneumothorax.data.columns import PREPARED, write_studies
from pneumothorax.errors import UserError, warn
from pneumothorax.workspace import reading, swap_folder, write_text

MARK, LOG = "building.json", "log.jsonl"  # of a build: its sources, and its finished rows
FORMAT = 1  # raised whenever the same studies would give other arrays


def digest_studies(table: pd.DataFrame) -> list[str]:
    """Digest the sources of each study's rows of the arrays; a file counts by its size and time of change."""
    columns = table[["ImageId", "codes", "path", "mask_path"]].itertuples(index=False, name=None)
    return [
        hashlib.sha256(repr((image_id, codes, *map(_state, paths))).encode()).hexdigest()
        for image_id, codes, *paths in columns
    ]


def _state(path: str) -> tuple[int, int] | None:
    """Return a file's size and time of change; None without a path, which would be the current folder."""
    if not path:
        return None
    try:
        state = Path(path).stat()
    except OSError:  # reading it will say why
        return None
    return state.st_size, state.st_mtime_ns


def digest_cache(table: pd.DataFrame, size: int, interpolation: str) -> str:
    """Digest all that a cache depends on, from the column digest of its studies."""
    return hashlib.sha256(
        " ".join([f"{FORMAT} {size} {interpolation}", *table["digest"]]).encode()
    ).hexdigest()


def find_current(
    folder: Path, table: pd.DataFrame, size: int, fingerprint: str, skip_bad: bool
) -> Cache | None:
    """Open a finished cache of the same inputs, none left out unless that is allowed; None if there is none.

    Its paths are updated, as the images may have been moved. A damaged cache is missing, with a warning.
    """
    if not (folder / "cache.json").is_file():
        return None
    try:
        with reading(folder / "cache.json", "note of a cache", "prepare", REMEDY) as path:
            made = json.loads(path.read_text(encoding="utf-8"))
            current = made["fingerprint"] == fingerprint and (skip_bad or not made["skipped"])
            kept = table[~table["ImageId"].isin(made["skipped"])]
        if not current:
            return None
        cache = open_cache(folder, PREPARED)
        if cache.images.shape[1] != size or cache.studies["ImageId"].tolist() != kept["ImageId"].tolist():
            raise UserError(f"{folder} holds other images than its cache.json says")
    except UserError as error:
        warn(f"{error.found}; its images are prepared again")
        return None
    if cache.studies["path"].tolist() != kept["path"].tolist():
        cache.studies["path"] = kept["path"].tolist()
        with suppress(OSError):  # Kaggle mounts a notebook's inputs read-only
            write_studies(folder / "studies.csv", cache.studies)
    _clear_notes(folder)  # where `finish` was killed
    return cache


def reserve(build: Path, count: int, size: int, interpolation: str) -> None:
    """Make the array files at their full length, unless an unfinished run left some of this kind."""
    kind = {"format": FORMAT, "count": count, "size": size, "interpolation": interpolation}
    mark = build / MARK
    if mark.is_file():
        try:
            with reading(mark, "note of a cache", "prepare", REMEDY):
                same = json.loads(mark.read_text(encoding="utf-8")) == kind
            if same and all(map_array(build / name).shape == (count, size, size) for name in ARRAYS):
                return
        except UserError as error:
            warn(f"{error.found}; its images are prepared again")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    try:
        for name in ARRAYS:
            create_array(build / name, count, size)
        write_text(mark, json.dumps(kind))
    except OSError:
        shutil.rmtree(build, ignore_errors=True)
        raise


def read_log(build: Path, digests: list[str]) -> dict[int, dict[str, Any]]:
    """Read the finished rows of an unfinished run; without failed ones, and those made of other inputs.

    A line cut short by a kill, or damaged, does not count.
    """
    last: dict[int, dict[str, Any] | None] = {}  # content of the array rows
    path = build / LOG
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError, TypeError, LookupError, RecursionError):
            record = json.loads(line)
            row, same = record["row"], record["digest"] == digests[record["row"]]
            known = {name: value for name, value in record.items() if name not in ("row", "digest")}
            last[row] = known if same and "error" not in known else None
    return {row: known for row, known in sorted(last.items()) if known is not None}


def finish(
    build: Path, folder: Path, table: pd.DataFrame, records: dict[int, dict[str, Any]], fingerprint: str
) -> None:
    """Leave out bad rows, write the table and move the finished cache into place."""
    good = [row for row in range(len(table)) if "error" not in records[row]]
    if not good:
        raise UserError(f"none of {len(table)} images could be read", "at least one good image")
    if len(good) < len(table):
        (build / MARK).unlink()  # if killed from here on, begin again: array row i is no longer study i
        for name in ARRAYS:
            keep_rows(build / name, good)
    known = pd.DataFrame([records[row] for row in good])
    studies = pd.concat([table[["ImageId", "path"]].iloc[good].reset_index(drop=True), known], axis=1)
    write_studies(build / "studies.csv", studies)
    skipped = [str(table["ImageId"].iloc[row]) for row in range(len(table)) if "error" in records[row]]
    write_text(build / "cache.json", json.dumps({"fingerprint": fingerprint, "skipped": skipped}, indent=2))
    swap_folder(build, folder)
    _clear_notes(folder)  # last of all: with them a killed run finishes at once


def _clear_notes(folder: Path) -> None:
    """Remove from a finished cache the files by which its build was resumed."""
    for name in (MARK, LOG):
        with suppress(OSError):  # Kaggle mounts a notebook's inputs read-only
            (folder / name).unlink(missing_ok=True)
