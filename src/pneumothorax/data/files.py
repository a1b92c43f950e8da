"""List the files below a folder: each real folder once, links followed, nothing left out silently.

Knows names only; opens no file.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pneumothorax.errors import UserError, warn

_NO_TARGET = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # of a link: reading it as a file will say why


def walk(folder: Path, unreadable: list[str], mark: str | None = None) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, hidden ones included.

    Links are followed, but no folder (by device and inode) is entered twice. Hidden folders and macOS'
    resource forks are left out.

    Args:
        folder: Root of the walk.
        unreadable: Each folder that cannot be listed, and each link that cannot be followed, is added to it:
            its path and the reason.
        mark: The name of a file that marks a folder to leave out, with all that is in it.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        try:
            state = parent.stat()
            with os.scandir(parent) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            unreadable.append(f"{parent} ({error.strerror})")
            continue
        place = (state.st_dev, state.st_ino)
        if place in seen or any(entry.name == mark for entry in entries):
            continue
        seen.add(place)
        folders = []
        for entry in entries:
            path = parent / entry.name
            try:
                is_folder = entry.is_dir()
            except OSError as error:
                if error.errno not in _NO_TARGET:
                    unreadable.append(f"{path} ({error.strerror})")
                    continue
                is_folder = False
            if not is_folder:
                yield path
            elif not entry.name.startswith((".", "__MACOSX")):
                folders.append(path)
        waiting += reversed(folders)


def refuse_unreadable(unreadable: list[str], folder: Path, *, skip_bad: bool) -> None:
    """Name each folder or file that could not be read, and fail, unless that is allowed.

    Raises:
        UserError: There is one, and `skip_bad` is False.
    """
    for text in unreadable:
        warn(f"cannot read {text}")
    if unreadable and not skip_bad:
        more = f" and {len(unreadable) - 1:,} more below {folder}" if len(unreadable) > 1 else ""
        raise UserError(
            f"cannot read {unreadable[0]}{more}",
            "folders and files that may be read",
            "mend them, or leave them out with --skip-bad",
        )


def is_special(path: Path) -> bool:
    """Return whether a path leads to a pipe, a socket or a device, on which a read may block for ever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # reading it will say why
        return False


def fault_of_name(path: Path) -> str | None:
    """Return why a file's name cannot be written into a table; None if it can.

    Linux allows any bytes; those that are not text cannot stand in a CSV or an HTML file.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"{os.fsencode(path)!r} (its name is not UTF-8 text: rename it)"
    if "\r" in str(path):  # Python's csv does not quote it
        return f"{str(path)!r} (a carriage return in its name: rename it)"
    return None
