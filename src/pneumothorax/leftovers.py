"""Temporary files that killed commands left: `workspace.atomic` removes those of a file that it writes again.

A lock would show at once whether a writer lives, but HDF5 takes locks of its own on the files that it writes.
"""

import os
import re
import stat
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_NAME = re.compile(r"\.[a-z0-9_]{8}\.(.+)", re.DOTALL)  # as `tempfile.mkstemp` makes it for `atomic`
_SECONDS = 86_400.0  # no writer pauses for so long


def clear_leftovers(path: Path) -> None:
    """Remove the temporary files of a file that have not changed for a day.

    A folder is listed once in a process: thousands of files may be written to it.

    Args:
        path: The file that is about to be written.
    """
    for name in _find(str(path.parent.absolute())).pop(path.name, ()):
        with suppress(OSError):
            state = Path(name).lstat()
            if stat.S_ISREG(state.st_mode) and time.time() - state.st_mtime > _SECONDS:
                Path(name).unlink()


@cache
def _find(folder: str) -> dict[str, list[str]]:
    """List a folder's temporary files by the names of the files that they were to become."""
    found: dict[str, list[str]] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if match := _NAME.fullmatch(entry.name):
                found.setdefault(match[1], []).append(entry.path)
    return found
