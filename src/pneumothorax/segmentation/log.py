"""Log of finished images, a line each, next to the results, so that a killed run resumes.

A line is valid as long as the image's file, the networks, the rule and the requested outputs stay the same,
and the files that it names are there. The first line identifies the input, so that no other folder's results
are overwritten. A line is deleted before its files: an existing line is always true of them.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumothorax.segmentation.inputs import Input
from pneumothorax.workspace import write_text

LOG = "segment.jsonl"  # also the mark of a folder of results
FORMAT = 3  # raised whenever the same files and networks would give other results

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One line: the row of an image, and the digest of its inputs (see `digest_input`)."""

    digest: str
    row: Row


@dataclass(frozen=True)
class Log:
    """All lines.

    Attributes:
        source: Digest of the file or folder (see `digest_source`); '' without a log.
        entries: The last entry of each image, by its name.
    """

    source: str
    entries: Mapping[str, Entry]


def digest_source(source: Path) -> str:
    """Digest the path of the images, which results must not contain in clear."""
    return hashlib.sha256(os.fsencode(source.resolve())).hexdigest()


def digest_input(one: Input, made_by: str) -> str:
    """Digest the inputs of an image's results; a file counts by its size and modification time.

    Args:
        one: The image.
        made_by: Networks, rule and requested outputs, as text.
    """
    try:
        state = one.path.stat()
    except OSError:  # reading it will say why
        return ""
    said = repr((FORMAT, os.fsencode(one.name), state.st_size, state.st_mtime_ns, made_by))
    return hashlib.sha256(said.encode()).hexdigest()


def read_log(out: Path) -> Log:
    """Read the lines of a folder of results; truncated lines and other formats are ignored."""
    path, source = out / LOG, ""
    last: dict[str, Entry] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            found = json.loads(line)
            if "source" in found:
                source = str(found["source"])
            else:
                last[found["row"]["file"]] = Entry(found["digest"], found["row"])
        except (ValueError, KeyError, TypeError, RecursionError):  # cut short by a kill
            continue
    return Log(source, last)


def still_true(out: Path, log: Log, digests: Mapping[str, str], folders: Mapping[str, str]) -> dict[str, Row]:
    """Return the rows that today's command would make again, by the image's name.

    Args:
        out: The folder of results.
        log: Log of that folder, from `read_log`.
        digests: Today's digest of each image, from `digest_input`, by its name.
        folders: Folders of the files below `out`, by the columns that name them.
    """
    return {
        name: entry.row
        for name, entry in log.entries.items()
        if entry.digest
        and entry.digest == digests.get(name)
        and all((out / file).is_file() and (out / file).stat().st_size for file in _files(entry.row, folders))
    }


def begin(out: Path, log: Log, source: str, kept: Mapping[str, Row], folders: Mapping[str, str]) -> None:
    """Delete the files of lines that are no longer true, leftovers of a killed try, then those lines.

    Args:
        out: The folder of results.
        log: Log of that folder, from `read_log`.
        source: Digest of the input, from `digest_source`.
        kept: The rows that stay.
        folders: Folders of the files below `out`, by the columns that name them.
    """
    staying = {file for row in kept.values() for file in _files(row, folders)}
    named = {file for entry in log.entries.values() for file in _files(entry.row, folders)}
    halves = {path.relative_to(out).as_posix() for at in folders.values() for path in (out / at).rglob(".*")}
    for file in (named | halves) - staying:
        if (out / file).is_file():
            (out / file).unlink()
    lines = [{"digest": log.entries[name].digest, "row": row} for name, row in kept.items()]
    write_text(out / LOG, "".join(json.dumps(line) + "\n" for line in ({"source": source}, *lines)))


def append(out: Path, digest: str, row: Row) -> None:
    """Add the line of one image, whose files are all written."""
    with (out / LOG).open("a+", encoding="utf-8") as file:
        if file.tell() and not _ends_line(out / LOG):
            file.write("\n")
        file.write(json.dumps({"digest": digest, "row": row}) + "\n")


def _ends_line(path: Path) -> bool:
    """Return whether a file's last line is complete."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _files(row: Row, folders: Mapping[str, str]) -> list[str]:
    """Return the files that a row names, if they lie in their folders."""
    named = [(str(row.get(column) or ""), folder) for column, folder in folders.items()]
    return [file for file, folder in named if file.startswith(f"{folder}/") and ".." not in file.split("/")]
