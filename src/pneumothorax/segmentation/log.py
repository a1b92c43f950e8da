"""What has been done of a long folder: a line an image beside the results, so that a killed run goes on.

A line counts as long as the image's file, the networks, the rule and what is wanted of them stay the same,
and the files that it names are there. The first line tells what was read, so that no other folder's results
are overwritten. A line goes before its files do: what a line tells is always true of them.
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
    """One line: the row of an image, and what it follows from (see `digest_input`)."""

    digest: str
    row: Row


@dataclass(frozen=True)
class Log:
    """All lines.

    Attributes:
        source: Of which file or folder (see `digest_source`); '' where there is no log.
        entries: The last of each image, by its name.
    """

    source: str
    entries: Mapping[str, Entry]


def digest_source(source: Path) -> str:
    """Digest where the images are; results are no place for paths of this machine."""
    return hashlib.sha256(os.fsencode(source.resolve())).hexdigest()


def digest_input(one: Input, made_by: str) -> str:
    """Digest what an image's results follow from; a file counts by its size and time of change.

    Args:
        one: The image.
        made_by: Networks, rule and what is wanted, as text.
    """
    try:
        state = one.path.stat()
    except OSError:  # reading it will say why
        return ""
    said = repr((FORMAT, os.fsencode(one.name), state.st_size, state.st_mtime_ns, made_by))
    return hashlib.sha256(said.encode()).hexdigest()


def read_log(out: Path) -> Log:
    """Read the lines of a folder of results; what is cut short or of another make does not count."""
    path, source = out / LOG, ""
    last: dict[str, Entry] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            found = json.loads(line)
            if "source" in found:
                source = str(found["source"])
            else:
                last[found["row"]["file"]] = Entry(found["digest"], found["row"])
        except (ValueError, KeyError, TypeError):  # cut short by a kill
            continue
    return Log(source, last)


def still_true(out: Path, log: Log, digests: Mapping[str, str], folders: Mapping[str, str]) -> dict[str, Row]:
    """Return the rows that are as today's command would make them, by the image's name.

    Args:
        out: The folder of results.
        log: What `read_log` found there.
        digests: What `digest_input` says of each image today, by its name.
        folders: Where files lie below `out`, by the columns that name them.
    """
    return {
        name: entry.row
        for name, entry in log.entries.items()
        if entry.digest
        and entry.digest == digests.get(name)
        and all((out / file).is_file() and (out / file).stat().st_size for file in _files(entry.row, folders))
    }


def begin(out: Path, log: Log, source: str, kept: Mapping[str, Row], folders: Mapping[str, str]) -> None:
    """Delete the files of lines that are no longer true, and what a killed try left; then those lines.

    Args:
        out: The folder of results.
        log: What `read_log` found there.
        source: What `digest_source` says.
        kept: The rows that stay.
        folders: Where files lie below `out`, by the columns that name them.
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
    """Tell whether a file's last line is whole."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _files(row: Row, folders: Mapping[str, str]) -> list[str]:
    """Return the files that a row names, as long as they lie where such files do."""
    named = [(str(row.get(column) or ""), folder) for column, folder in folders.items()]
    return [file for file, folder in named if file.startswith(f"{folder}/") and ".." not in file.split("/")]
