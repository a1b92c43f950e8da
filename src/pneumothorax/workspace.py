"""Workspace: where data, runs and submissions lie on this machine; knows folders, not their content."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


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
    the suffix, because writers such as Keras' judge a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix="." + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step (see `atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    """Return the process's file mode mask (reading it means setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
