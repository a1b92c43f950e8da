"""What has been done of a long folder: a line an image beside the results, so that a killed run goes on.

A line counts as long as the image's file, the networks, the rule and what is wanted of them stay the same,
and the files that it names are there.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pneumothorax.data.inputs import Input

LOG = "segment.jsonl"  # also the mark of a folder of results
FORMAT = 1  # raised whenever the same files and networks would give other results

Row = dict[str, Any]


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


def read_log(out: Path, digests: dict[str, str], files: Sequence[str]) -> dict[str, Row]:
    """Read the rows of what is done, by the image's name; not what failed, nor what was made by others.

    Args:
        out: The folder of results.
        digests: What `digest_input` says of each image today, by its name.
        files: The columns that name files, which must be there.
    """
    path = out / LOG
    last: dict[str, tuple[str, Row]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            last[entry["row"]["file"]] = entry["digest"], entry["row"]
        except (ValueError, KeyError, TypeError):  # cut short by a kill
            continue
    return {
        name: row
        for name, (digest, row) in last.items()
        if digest and digest == digests.get(name) and all(_is_there(out, row.get(part)) for part in files)
    }


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


def _is_there(out: Path, name: str | None) -> bool:
    return not name or (out / name).is_file()
