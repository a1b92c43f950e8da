"""Studies as memory-mapped uint8 arrays of one size: `prepare` writes them, later stages read them.

A cache is a folder: ``images.npy`` and ``masks.npy`` (uint8, shape (N, S, S); masks are soft, 0-255),
``studies.csv`` (row i describes array row i) and ``cache.json`` (its sources). It knows nothing of
folds or networks.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data.columns import read_studies, validate
from pneumothorax.errors import UserError
from pneumothorax.workspace import reading

INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
ARRAYS = ("images.npy", "masks.npy")
REMEDY = "delete the folder and run `pneumothorax prepare`"

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cache:
    """Arrays of one part of the data at one size.

    Attributes:
        folder: Where it lies.
        images: uint8 array of shape (N, S, S), memory-mapped.
        masks: uint8 array of shape (N, S, S), soft masks 0-255, memory-mapped.
        studies: Table of N rows with the columns `data.columns.PREPARED`.
    """

    folder: Path
    images: Images
    masks: Images
    studies: pd.DataFrame


def shrink(image: Images, size: int, interpolation: str) -> Images:
    """Resize an image, or a mask of values 0-255, to a square.

    Bicubic interpolation overshoots; uint8 clips it to 0-255.

    Args:
        image: uint8 array of shape (H, W).
        size: Side of the result in pixels.
        interpolation: 'bilinear', 'bicubic' or 'area'.

    Returns:
        uint8 array of shape (size, size).
    """
    shrunk = cv2.resize(image, (size, size), interpolation=INTERPOLATIONS[interpolation])
    return shrunk.astype(np.uint8, copy=False)


def digest_studies(studies: pd.DataFrame) -> str:
    """Digest the sources of a split and its truth: ids, masks and patients, in their order."""
    text = studies[["ImageId", "EncodedPixels", "patient"]].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_cache(folder: Path, columns: Sequence[str] = ("ImageId", "area")) -> Cache:
    """Open a cache that `prepare` made.

    Args:
        folder: Where it lies.
        columns: Required columns of its table.

    Raises:
        UserError: There is none, or it is not complete.
    """
    if not (folder / "cache.json").is_file():
        raise UserError(
            f"no prepared images in {folder}", "the output of `prepare`", "run `pneumothorax prepare`"
        )
    images, masks = (map_array(folder / name) for name in ARRAYS)
    with reading(folder / "studies.csv", "table of studies", "prepare", REMEDY) as path:
        studies = read_studies(path)
        validate(studies, columns)
    if images.shape != masks.shape or len(images) != len(studies):
        shapes = " and ".join("x".join(map(str, array.shape)) for array in (images, masks))
        raise UserError(
            f"arrays of {shapes} for {len(studies)} studies in {folder}",
            "as many of each, of one size",
            REMEDY,
        )
    return Cache(folder, images, masks, studies)


def map_array(path: Path) -> Images:
    """Map a cache's array file into memory: uint8 of shape (N, S, S), read-only.

    Raises:
        UserError: It is no such file.
    """
    with reading(path, "array of images", "prepare", REMEDY):
        array = np.lib.format.open_memmap(path, mode="r")
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[1] != array.shape[2]:
            raise ValueError(f"{array.dtype} of shape {array.shape}, not uint8 of shape (N, S, S)")
    return array


def create_array(path: Path, count: int, size: int) -> None:
    """Make the file of a uint8 array of shape (count, size, size), all zeros.

    Its blocks are allocated at once: a full disk is then an error here, and not a crash in a worker.
    """
    with path.open("wb") as file:
        _write_header(file, count, size)
        length = file.tell() + count * size * size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, length)
        else:  # macOS allocates as it goes
            file.truncate(length)


def keep_rows(path: Path, rows: list[int]) -> None:
    """Shorten an array file, in place, to some of its rows; they are in ascending order."""
    array = np.load(path, mmap_mode="r+")
    for place, row in enumerate(rows):
        array[place] = array[row]
    array.flush()
    with path.open("r+b") as file:
        _write_header(file, len(rows), array.shape[1])  # as long as the old: NumPy pads for any count
        file.truncate(array.offset + len(rows) * array.shape[1] ** 2)


def _write_header(file: IO[bytes], count: int, size: int) -> None:
    """Write the .npy header of a uint8 array of shape (count, size, size)."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    np.lib.format.write_array_header_1_0(file, header)
