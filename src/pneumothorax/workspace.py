"""Workspace: where data, runs and submissions lie on this machine; knows folders, not their content."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.leftovers import clear_leftovers
from pneumothorax.locks import hold_lock, make_mark


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
        """Kaggle's files, never edited."""
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
        """The record of submissions."""
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
    return text not in ("", ".", "..") and not text.startswith("-") and not set(text) & {"/", "\\", "\0"}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` once the block ends without an error.

    A killed or failed command leaves the old file or the new one, never a half. The temporary name keeps
    the suffix, because writers such as Keras' judge a format by it; one that a killed command left goes
    after a day (see `leftovers`). Of a link the target is replaced.

    Raises:
        UserError: `path` is a device or a pipe, and would be lost.
    """
    path = _target(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is no ordinary file", "the path of a new file, or of one to replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
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
def replace_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, and put it in its place once the block ends without an error.

    A failed block leaves the old folder. A killed command leaves the old one or the new one; where it was
    killed between the two renames of `swap_folder`, the next call puts the old one back first. Of a link the
    target is replaced.

    Raises:
        UserError: `folder` is a file.
    """
    folder = restore_folder(folder)
    build = partial_folder(folder)
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    try:
        yield build
        swap_folder(build, folder)
    except BaseException:
        shutil.rmtree(build, ignore_errors=True)
        raise


def _target(path: Path) -> Path:
    """Return the file or folder that a link stands for; of links in a circle, one of them."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def partial_folder(folder: Path) -> Path:
    """Name the hidden folder in which the successor of `folder` grows, on the same disk."""
    folder = _target(folder)
    return folder.with_name(f".{folder.name}.partial")


def swap_folder(build: Path, folder: Path) -> None:
    """Put the complete folder `build` in the place of `folder`, and remove the old one.

    Args:
        build: On the same disk (see `partial_folder`).
        folder: Replaced if it is there.

    Raises:
        UserError: `folder` is a file.
    """
    folder = restore_folder(folder)
    old = _old_folder(folder)
    try:
        if folder.exists():
            folder.rename(old)
        build.rename(folder)
    except BaseException:
        restore_folder(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(folder: Path) -> Path:
    """Undo or complete a `swap_folder` that was killed, and return the folder that a link stands for.

    Raises:
        UserError: `folder` is a file.
    """
    folder = _target(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "a folder, or nothing", "move it away")
    old = _old_folder(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)
    return folder


def _old_folder(folder: Path) -> Path:
    """Name the place of the old folder between the two renames of `swap_folder`."""
    return folder.with_name(f".{folder.name}.old")


@contextmanager
def locked(place: Path, holder: str) -> Iterator[None]:
    """Keep other commands out for the time of the block; a later one names the command that it waits for.

    The lock goes with the process, however that ends. Where the file system has none (some network disks),
    a file beside stands for it, which names its process: a killed one leaves it, and the next command on the
    same machine clears it away.

    Args:
        place: A file, or a folder, in which a file ``.lock`` is made for the time of the block.
        holder: Who holds the lock, for the message.

    Raises:
        UserError: The place cannot be locked at all.
        OSError: The disk is full.
    """
    with ExitStack() as held:
        try:
            hold_lock(place, holder, held)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            make_mark(place, holder, error, held)
        yield


@contextmanager
def reading(path: Path, kind: str, command: str, remedy: str) -> Iterator[Path]:
    """Turn any error of the block into one line that names a file.

    Args:
        path: The file; it is given to the block.
        kind: Expected content, such as 'recipe'.
        command: Command that wrote it.
        remedy: The next step, unless the block's own `UserError` has one.

    Raises:
        UserError: The block raised any error.
    """
    try:
        if path.is_fifo():  # nobody may ever write into it
            raise ValueError("a pipe")
        yield path
    except Exception as error:  # damaged bytes make zipfile, NumPy, pandas and json raise many kinds
        cause = error if isinstance(error, UserError) else UserError(str(error) or type(error).__name__)
        raise UserError(
            f"{path} is no {kind} ({cause.found})",
            cause.expected or f"the output of `pneumothorax {command}`",
            cause.remedy or remedy,
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step (see `atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    """Return the process's file mode mask (reading it means setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
