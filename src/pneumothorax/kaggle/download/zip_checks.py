"""Check an archive before unpacking a byte; none of its names, kinds and sizes is trusted."""

import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pneumothorax.errors import UserError

# bzip2 and LZMA are left out: zipfile unpacks them without a bound on memory.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LONGEST_PART, LONGEST_NAME = 240, 1024  # bytes; a part leaves room for the temporary name's 10 more

_DRIVE = re.compile(r"[A-Za-z]:")
_SAFE = "relative names without '..', '//', backslashes, drive letters or control characters"
_STRANGE = "do not unpack it; delete it and run the same command again, in case the download went wrong"
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flag bits: encryption, strong encryption, an encrypted directory
# Exceptions of zipfile on broken bytes.
BROKEN = (
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


class CorruptArchiveError(UserError):
    """An archive that did not arrive whole and may be deleted."""


def read_members(archive: Path) -> list[zipfile.ZipInfo]:
    """List the files in an archive, without unpacking any.

    Returns:
        The members that are files, in the archive's order.

    Raises:
        CorruptArchiveError: It is not a whole zip file.
        UserError: It is missing, or a member may not be unpacked: an unsafe or overlong name, a link or
            another special file, encryption, an unknown compression, or two members of one path.
    """
    if not archive.is_file():
        raise UserError(f"no file {archive}", "a zip file")
    with archive.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as opened:
                members = opened.infolist()
            if any(member.header_offset < 0 for member in members):
                raise zipfile.BadZipFile("a member before its beginning")
        except (*BROKEN, OSError) as error:  # OSError: the directory sends zipfile to a place before 0
            raise corrupt(archive, f"{archive} is not a whole zip file ({error})") from error
    for member in members:
        _check_name(archive, member.orig_filename)
        _check_kind(archive, member)
    _check_paths(archive, members)
    return [member for member in members if not member.is_dir()]


def check_sizes(members: Iterable[zipfile.ZipInfo], listing: Mapping[str, int], limit_bytes: int) -> None:
    """Compare an archive's members with Kaggle's listing, and limit their unpacked size.

    Args:
        members: Members from `read_members`.
        listing: Size in bytes by name; members missing from it pass.
        limit_bytes: Upper limit of their size together.

    Raises:
        UserError: A size differs, or the sum is beyond the limit.
    """
    total = 0
    for member in members:
        total += member.file_size
        listed = listing.get(member.filename, member.file_size)
        if listed != member.file_size:
            raise UserError(
                f"{shown(member.filename)} has {member.file_size:,} bytes in the archive",
                f"{listed:,}, as Kaggle lists it",
                "delete the archive and run the same command again",
            )
    if total > limit_bytes:
        raise UserError(
            f"the archive unpacks to {gigabytes(total)}",
            f"at most {gigabytes(limit_bytes)}",
            "do not unpack it: it differs from Kaggle's listing",
        )


def _check_name(archive: Path, name: str) -> None:
    """Refuse a name that leads out of the folder, or that file systems refuse."""
    parts = name.removesuffix("/").split("/")
    unsafe = "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name)
    if unsafe or any(part in ("", ".", "..") or _DRIVE.match(part) for part in parts):
        raise UserError(f"{archive} holds the unsafe name {shown(name)}", _SAFE, _STRANGE)
    if len(name.encode()) > LONGEST_NAME or max(len(part.encode()) for part in parts) > LONGEST_PART:
        raise UserError(
            f"{archive} holds a name of {len(name.encode()):,} bytes, {shown(name)}",
            f"at most {LONGEST_NAME:,} bytes, and {LONGEST_PART} between two slashes",
            _STRANGE,
        )


def _check_kind(archive: Path, member: zipfile.ZipInfo) -> None:
    """Refuse special files, encryption and unknown compression."""
    name = shown(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        kind_text = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        raise UserError(f"{name} in {archive} is {kind_text}", "plain files and folders", _STRANGE)
    if member.flag_bits & _ENCRYPTED:
        raise UserError(f"{name} in {archive} is encrypted", "files that need no password", _STRANGE)
    if member.compress_type not in METHODS:
        raise UserError(
            f"{name} in {archive} is compressed by method {member.compress_type}",
            "stored or deflated files (methods 0 and 8)",
            "unpack it with another program, and pack it again",
        )


def _check_paths(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse two members of one path on any file system, and a file that is a folder of another member."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}  # each with a member that makes it one
    for member in members:
        name = member.filename
        key = _key(name)
        if member.is_dir():
            folders[key] = name
        elif key in files:
            found = f"{archive} holds two members of one path, {shown(files[key])} and {shown(name)}"
            raise UserError(found, "names that differ by more than case", _STRANGE)
        else:
            files[key] = name
        folders.update({str(parent): name for parent in PurePosixPath(key).parents})
    for key in files.keys() & folders.keys():
        found = f"{shown(files[key])} in {archive} is both a file and a folder of {shown(folders[key])}"
        raise UserError(found, "one or the other", _STRANGE)


def _key(name: str) -> str:
    """Return a name as a file system sees it that ignores case and the encoding of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).removesuffix("/")


def corrupt(archive: Path, found: str) -> CorruptArchiveError:
    """Return the error for an archive that did not arrive whole."""
    return CorruptArchiveError(
        found, "a download that arrived whole", f"delete {archive} and run the same command again"
    )


def shown(name: str) -> str:
    """Return a name escaped and shortened for a one-line message."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")


def gigabytes(size: int) -> str:
    """Format a size in bytes."""
    return f"{size / 1e9:,.1f} GB"
