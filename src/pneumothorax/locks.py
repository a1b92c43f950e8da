"""How `workspace.locked` holds a lock: by the file system, or by a file that stands for it."""

import errno
import fcntl
import os
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from pneumothorax.errors import UserError, warn

LOCK_NAME = ".lock"  # of a folder
MARK_SECONDS = 0.5  # between two looks at a file that stands for a lock
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def hold_lock(place: Path, holder: str, held: ExitStack) -> None:
    """Take the lock of the file system, on a handle for writing: NFS refuses it on another."""
    is_folder = place.is_dir()
    path = place / LOCK_NAME if is_folder else place
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder went with the command that was waited for
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            return  # where nobody can write, nobody is to be kept out
        with ExitStack() as mine:
            mine.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                warn(f"{holder}; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:
                if is_folder:
                    path.unlink(missing_ok=True)
                raise
            try:
                current = os.path.samestat(os.fstat(handle), path.stat())
            except FileNotFoundError:
                current = False
            if current:  # and not one that its holder has removed meanwhile
                if is_folder:
                    mine.callback(path.unlink, missing_ok=True)
                held.push(mine.pop_all())
                return


def make_mark(place: Path, holder: str, reason: OSError, held: ExitStack) -> None:
    """Make a file that stands for the lock; the mark of a killed process of this machine is cleared away."""
    mark = place / (LOCK_NAME + "ed") if place.is_dir() else place.with_name(f".{place.name}{LOCK_NAME}ed")
    me, waited = f"{socket.gethostname()} {os.getpid()}", False
    while True:
        try:
            handle = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if not _clear(mark):
                if not waited:
                    warn(f"{holder}; waiting for it (if none runs, delete {mark})")
                waited = True
                time.sleep(MARK_SECONDS)
            continue
        except OSError as error:
            raise UserError(
                f"{place} cannot be locked ({reason.strerror}; {mark.name}: {error.strerror})",
                "a file system that has locks, or takes new files",
                "choose a folder on another disk",
            ) from None
        held.callback(mark.unlink, missing_ok=True)
        with os.fdopen(handle, "w") as file:
            file.write(me)
        return


def _clear(mark: Path) -> bool:
    """Remove a mark whose process has ended on this machine; False where it may be in use."""
    try:
        host, number = mark.read_text().rsplit(maxsplit=1)
        if host == socket.gethostname():
            os.kill(int(number), 0)
    except ProcessLookupError:
        aside = mark.with_name(f"{mark.name}.{os.getpid()}")
        with suppress(FileNotFoundError):  # another command was faster
            mark.rename(aside)
            if aside.read_text() != f"{host} {number}":  # and has begun: give its mark back
                with suppress(FileExistsError):
                    os.link(aside, mark)
            aside.unlink()
        return True
    except FileNotFoundError:
        return True
    except (OSError, ValueError, OverflowError):  # another user's process, or not written yet
        return False
    return False
