"""Find the radiographs in a file or in a folder of anything, each under a name of its own.

Unlike `studies`, which knows Kaggle's layouts and keys by the file's stem: two files are two images here.
A file is an image if it has an image's suffix, even if it turns out broken; without a known suffix, if it
begins like one, or, if its name has no suffix at all (a PACS names files by their UID), if it parses as one.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.data.dicom import SUFFIXES, read_header
from pneumothorax.data.files import is_special, refuse_unreadable, walk
from pneumothorax.errors import UserError

_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_DICOM = slice(128, 132)  # where a DICOM file says so
_NO_KIND = re.compile(r"(\.[0-9]+)?")  # the suffix of a name without a file type
_INDEX = "DICOMDIR"  # lists the images of a disc, and is not one


@dataclass(frozen=True)
class Input:
    """One input file.

    Attributes:
        path: Path of the file.
        name: Path below the given folder, in any system with '/'; the file's name if a file was given.
    """

    path: Path
    name: str


@dataclass(frozen=True)
class Inputs:
    """The files found.

    Attributes:
        images: The images, ordered by name.
        others: The names of files that are not images, hidden ones included.
    """

    images: list[Input]
    others: list[str]


def find_inputs(source: Path, mark: str, *, skip_bad: bool = False) -> Inputs:
    """Find the images in a folder, or take the given file.

    Args:
        source: A file or a folder. Links are followed, but no folder is entered twice.
        mark: The name of a file that marks a folder of results: such a folder is left out.
        skip_bad: Leave out folders that cannot be listed, instead of failing.

    Raises:
        UserError: There is no such file, no image in the folder, it lies within a folder of results, or a
            folder cannot be listed.
    """
    if not source.exists():
        raise UserError(f"no file or folder {source}", "a radiograph, or a folder of them")
    resolved = source.resolve()
    if marked := next((path for path in (resolved, *resolved.parents) if (path / mark).is_file()), None):
        raise UserError(f"{source} lies in {marked}, which holds results", "radiographs", "name their folder")
    if source.is_file():
        return Inputs([Input(source, source.name)], [])
    images, others = [], []
    unreadable: list[str] = []
    for path in walk(source, unreadable, mark):
        name = path.relative_to(source).as_posix()
        if _is_image(path):
            images.append(Input(path, name))
        else:
            others.append(name)
    refuse_unreadable(unreadable, source, skip_bad=skip_bad)
    if not images:
        raise UserError(
            f"no image in {source} ({len(others):,} other files)",
            f"DICOM files of any name, or files ending in {', '.join(SUFFIXES)}",
        )
    return Inputs(sorted(images, key=lambda one: one.name), sorted(others))


def _is_image(path: Path) -> bool:
    """Return whether a file is an image, or claims to be one."""
    if path.name.startswith(".") or path.name == _INDEX:
        return False
    claims, tells_nothing = path.suffix.lower() in SUFFIXES, bool(_NO_KIND.fullmatch(path.suffix))
    try:
        if is_special(path):
            return False
        if claims:
            return True
        with path.open("rb") as file:
            start = file.read(_DICOM.stop)
        if start.startswith(_STARTS):
            return True
        if start[_DICOM] != b"DICM" and not tells_nothing:
            return False
        return read_header(path) is not None
    except OSError:  # a link to nowhere, a file that may not be read: reading the image will say why
        return claims or tells_nothing
