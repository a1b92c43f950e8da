"""Unpack a zip: checked before a byte is written, resumed after a kill, visible only when complete.

Ignores the archive's owners and modes. It knows of Kaggle only that one mirror holds every image
twice.
"""

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from pneumothorax.data.dicom import SUFFIXES
from pneumothorax.errors import UserError
from pneumothorax.kaggle.download.zip_checks import BROKEN, corrupt, gigabytes, read_members, shown
from pneumothorax.workspace import atomic, partial_folder, restore_folder, swap_folder

_BLOCK = 4096  # bytes; block size of a file system
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Extracted:
    """Result of unpacking an archive.

    Attributes:
        files: Files in the folder.
        bytes: Total size of these files.
        copies: Images left out, because an earlier member holds the same.
    """

    files: int
    bytes: int
    copies: int


def extract(archive: Path, folder: Path, *, title: str) -> Extracted:
    """Unpack an archive into a folder, which exists only when it is complete.

    Grows in a hidden folder next to it. After a kill the same call resumes: files that are there with the
    right size and checksum stay. An image with the file name, size and checksum of an earlier member is left
    out. Where the folder is already there, and not empty, nothing is written. Empty folders are not made.

    Args:
        archive: The zip file; it stays.
        folder: Output folder.
        title: Label of the progress bar on stderr.

    Raises:
        CorruptArchiveError: It is no whole zip file, or a member is damaged.
        UserError: A member may not be unpacked (see `read_members`), or the disk is too small.
    """
    members = read_members(archive)
    kept = list(_without_copies(members))
    size = sum(member.file_size for member in kept)
    result = Extracted(len(kept), size, len(members) - len(kept))
    folder = restore_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        return result
    partial = partial_folder(folder)
    _clear(partial, kept)
    _check_room(partial, kept)
    partial.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=title, disable=None)
    with bar, zipfile.ZipFile(archive) as opened:
        for member in kept:
            path = partial / member.filename
            if not _is_there(path, member):
                try:
                    _write(opened, member, path)
                except BROKEN as error:
                    found = f"{shown(member.filename)} in {archive} is damaged ({error})"
                    raise corrupt(archive, found) from error
            bar.update(member.file_size)
    swap_folder(partial, folder)
    return result


def _without_copies(members: Iterable[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """Yield the members except images that an earlier one holds under the same file name."""
    seen: set[tuple[str, int, int]] = set()
    for member in members:
        path = PurePosixPath(member.filename)
        if path.suffix.lower() in SUFFIXES:
            content = (path.name, member.file_size, member.CRC)
            if content in seen:
                continue
            seen.add(content)
        yield member


def _clear(partial: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Remove files from an unfinished folder that are not the archive's, or half written."""
    wanted = {partial / member.filename for member in members}
    for name, folders, files in os.walk(partial, topdown=False):
        here = Path(name)
        for path in (here / file for file in files):
            if path not in wanted or path.is_symlink():
                path.unlink()
        for path in (here / folder for folder in folders):
            if path.is_symlink():
                path.unlink()
            elif path in wanted or not any(path.iterdir()):
                shutil.rmtree(path)


def _check_room(partial: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Raise if the disk is too small for the files still to be unpacked."""
    needed = 0
    for member in members:
        path = partial / member.filename
        if not path.is_file() or path.stat().st_size != member.file_size:
            needed += -(-member.file_size // _BLOCK) * _BLOCK
    parent = next(path for path in partial.absolute().parents if path.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise UserError(
            f"{gigabytes(free)} free on the disk of {parent}",
            f"{gigabytes(needed)} to unpack into",
            "free some, or choose another --root; unpacked files stay",
        )


def _is_there(path: Path, member: zipfile.ZipInfo) -> bool:
    """Return whether an earlier try has unpacked a member completely."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == member.CRC


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Unpack one member; zipfile checks its checksum but not its length."""
    with atomic(path) as temporary:
        with opened.open(member) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
            length = file.tell()
        if length != member.file_size:
            raise zipfile.BadZipFile(f"{length:,} bytes, where {member.file_size:,} were announced")
