"""The folder in which a cache grows: made, resumed after a kill, and moved into place when complete.

Knows files and what was made of what; decodes no image.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from pneumothorax.data.cache import ARRAYS, Cache, create_array, keep_rows, open_cache
from pneumothorax.errors import UserError
from pneumothorax.workspace import write_text

MARK, LOG = "building.json", "log.jsonl"  # of a build: what it is made of, and what is done
FORMAT = 1  # raised whenever the same studies would give other arrays


def digest_studies(table: pd.DataFrame) -> list[str]:
    """Digest what each study's rows of the arrays depend on; a file counts by its size and time of change."""
    columns = table[["ImageId", "codes", "path", "mask_path"]].itertuples(index=False, name=None)
    return [
        hashlib.sha256(repr((image_id, codes, *map(_state, paths))).encode()).hexdigest()
        for image_id, codes, *paths in columns
    ]


def _state(path: str) -> tuple[int, int] | None:
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


def is_current(folder: Path, fingerprint: str, skip_bad: bool) -> bool:
    """Tell whether a finished cache was made of the same inputs, none left out unless that is allowed."""
    path = folder / "cache.json"
    if not path.is_file():
        return False
    made = json.loads(path.read_text(encoding="utf-8"))
    return made["fingerprint"] == fingerprint and (skip_bad or not made["skipped"])


def reopen(folder: Path, table: pd.DataFrame) -> Cache:
    """Open an unchanged cache, its paths brought up to date: the images may have been moved."""
    cache = open_cache(folder)
    paths = cache.studies["ImageId"].map(dict(zip(table["ImageId"], table["path"], strict=True)))
    if (paths != cache.studies["path"]).any():
        cache.studies["path"] = paths
        with suppress(OSError):  # Kaggle mounts a notebook's inputs read-only
            write_text(folder / "studies.csv", cache.studies.to_csv(index=False))
    return cache


def reserve(build: Path, count: int, size: int, interpolation: str) -> None:
    """Make the array files at their full length, unless an unfinished run left some of this kind."""
    kind = {"format": FORMAT, "count": count, "size": size, "interpolation": interpolation}
    mark = build / MARK
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == kind:
        return
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
    """Read what an unfinished run has done, by row; not what failed, nor what was made of other inputs.

    A line cut short by a kill does not count.
    """
    last: dict[int, dict[str, Any]] = {}  # what the array rows hold
    path = build / LOG
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        last[record.pop("row")] = record
    return {
        row: record
        for row, record in sorted(last.items())
        if record.pop("digest") == digests[row] and "error" not in record
    }


def finish(
    build: Path, folder: Path, table: pd.DataFrame, records: dict[int, dict[str, Any]], fingerprint: str
) -> None:
    """Leave out bad rows, write the table and move the finished cache into place."""
    good = [row for row in range(len(table)) if "error" not in records[row]]
    if not good:
        raise UserError(f"none of {len(table)} images could be read", "at least one good image")
    if len(good) < len(table):
        (build / MARK).unlink()  # if killed from here on, begin anew: array row i is study i no more
        for name in ARRAYS:
            keep_rows(build / name, good)
    known = pd.DataFrame([records[row] for row in good])
    studies = pd.concat([table[["ImageId", "path"]].iloc[good].reset_index(drop=True), known], axis=1)
    write_text(build / "studies.csv", studies.to_csv(index=False))
    skipped = [str(table["ImageId"].iloc[row]) for row in range(len(table)) if "error" in records[row]]
    write_text(build / "cache.json", json.dumps({"fingerprint": fingerprint, "skipped": skipped}, indent=2))
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    for name in (MARK, LOG):  # last of all: with them a killed run finishes at once
        (folder / name).unlink(missing_ok=True)
