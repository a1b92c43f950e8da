"""Workspace: where data, runs and submissions lie on this machine; knows folders, not their content."""

import errno
import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.errors import UserError, warn

LOCK_NAME = ".lock"  # of a folder
MARK_SECONDS = 0.5  # between two looks at a file that stands for a lock
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Workspace:
    """The folders of one competition entry, all below one root.

    Args:
        root: The folder that holds ``data``, ``runs`` and ``submissions``.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Everything that was downloaded or made from it."""
        return self.root / "data"

    @property
    def raw(self) -> Path:
        """What Kaggle sent, never edited."""
        return self.data / "raw"

    @property
    def runs(self) -> Path:
        """One folder for each trained run."""
        return self.root / "runs"

    @property
    def figures(self) -> Path:
        """Pictures of data and recipes; those of a run lie in its own folder."""
        return self.root / "figures"

    @property
    def submissions(self) -> Path:
        """The CSV files that go to Kaggle."""
        return self.root / "submissions"

    @property
    def ledger(self) -> Path:
        """The record of what was submitted."""
        return self.submissions / "ledger.csv"

    @property
    def downloads(self) -> Path:
        """Archives on their way from Kaggle."""
        return self.data / "downloads"

    def cache(self, size: int, interpolation: str, part: str) -> Path:
        """Return the folder of the arrays of one part ('train' or 'test') at one size in pixels."""
        return self.data / "cache" / f"{size}-{interpolation}" / part


def is_name(text: str) -> bool:
    """Return whether a text can name a run's folder: a path would lead out of the workspace."""
    return text not in ("", ".", "..") and not set(text) & {"/", "\\", "\0"}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` once the block ends without an error.

    A killed or failed command leaves the old file or the new one, never a half. The temporary name keeps
    the suffix, because writers such as Keras' judge a format by it. Of a link the target is replaced.

    Raises:
        UserError: `path` is a device or a pipe, and would be lost.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is no ordinary file", "the path of a new file, or of one to replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix="." + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:  # a full disk names no file, or one that nobody knows
        if error.filename in (None, name):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(place: Path, told: str) -> Iterator[None]:
    """Keep other commands out for the time of the block; one that comes later says what it waits for.

    The lock goes with the process, however that ends. Where the file system has none (some network disks),
    a file beside stands for it, which names its process: a killed one leaves it, and the next command on the
    same machine clears it away.

    Args:
        place: A file, or a folder, in which a file LOCK_NAME is made for the time of the block.
        told: Who holds the lock.

    Raises:
        UserError: The place cannot be locked at all.
        OSError: The disk is full.
    """
    with ExitStack() as held:
        try:
            _lock(place, told, held)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            _mark(place, told, error, held)
        yield


def _lock(place: Path, told: str, held: ExitStack) -> None:
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
                warn(f"{told}; waiting for it")
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


def _mark(place: Path, told: str, reason: OSError, held: ExitStack) -> None:
    """Make a file that stands for the lock; what a killed process of this machine left is cleared away."""
    mark = place / (LOCK_NAME + "ed") if place.is_dir() else place.with_name(f".{place.name}{LOCK_NAME}ed")
    me, waited = f"{socket.gethostname()} {os.getpid()}", False
    while True:
        try:
            handle = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if not _clear(mark):
                if not waited:
                    warn(f"{told}; waiting for it (if none runs, delete {mark})")
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


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step (see `atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    """Return the process's file mode mask (reading it means setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
