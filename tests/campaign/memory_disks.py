"""Small file systems in memory (tmpfs), whose size changes while in use; only root may mount them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(place: Path, size: int) -> Iterator[None]:
    """Mount an empty file system of so many bytes for the time of the block."""
    place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def resize(place: Path, size: int) -> None:
    """Give a file system another size in bytes, of whole pages."""
    _mount("-o", f"remount,size={size}", str(place))


def can_mount(place: Path) -> bool:
    """Return whether this process may mount file systems."""
    try:
        with mounted(place, 4096):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)
