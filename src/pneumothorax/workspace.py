"""Workspace: where data, runs and submissions lie on this machine; knows folders, not their content."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.errors import UserError, warn


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

    The lock goes with the process, however that ends.

    Args:
        place: A file or folder, which must be there.
        told: Who holds the lock.
    """
    handle = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            warn(f"{told}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step (see `atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    """Return the process's file mode mask (reading it means setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
