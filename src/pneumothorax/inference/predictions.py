"""Probabilities on disk: one uint8 map an image, at the network's size, beside the table of their studies.

The format that prediction writes and that decision, submission and report read; needs no network library.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data.cache import read_studies
from pneumothorax.errors import UserError
from pneumothorax.workspace import write_text

STEPS = 255  # a probability is stored as round(255 p): an error of at most 0.002


@dataclass(frozen=True)
class Predictions:
    """Probabilities of some studies.

    Attributes:
        folder: Where they lie.
        probabilities: uint8 array of shape (N, S, S), 255 p, memory-mapped.
        studies: Table of N rows, as in `data.cache.Cache`; EncodedPixels holds the truth where it is known.
    """

    folder: Path
    probabilities: npt.NDArray[np.uint8]
    studies: pd.DataFrame


def quantise(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Turn probabilities in [0, 1] into uint8 values 255 p."""
    return np.rint(probabilities * STEPS).astype(np.uint8)


def write_predictions(
    folder: Path, batches: Iterable[npt.NDArray[np.uint8]], studies: pd.DataFrame, size: int
) -> Predictions:
    """Write probabilities batch by batch; the folder appears when they are complete.

    Args:
        folder: Replaced if it is there, and only by a complete one.
        batches: uint8 arrays of shape (B, S, S), together N images in the order of `studies`.
        studies: N rows.
        size: S, in pixels.

    Raises:
        ValueError: The batches are not N images of that size together.
    """
    build = folder.with_name(folder.name + ".partial")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    shape = (len(studies), size, size)
    with (build / "probabilities.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        written = sum(file.write(batch.tobytes()) for batch in batches)
    if written != np.prod(shape):
        raise ValueError(f"found {written} bytes of probabilities; expected {np.prod(shape)}")
    write_text(build / "studies.csv", studies.to_csv(index=False))
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return read_predictions(folder)


def read_predictions(folder: Path) -> Predictions:
    """Open probabilities that `write_predictions` wrote.

    Raises:
        UserError: There are none, or not as many as studies.
    """
    command = "train" if folder.parent.name.startswith("fold") else "predict"
    remedy = f"delete the folder and run `pneumothorax {command}`"
    if not (folder / "studies.csv").is_file():
        raise UserError(
            f"no probabilities in {folder}", f"the output of `{command}`", f"run `pneumothorax {command}`"
        )
    try:
        probabilities = np.load(folder / "probabilities.npy", mmap_mode="r")
        studies = read_studies(folder / "studies.csv")
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"broken probabilities in {folder} ({error})", "both files", remedy) from error
    if len(probabilities) != len(studies):
        raise UserError(
            f"{len(probabilities)} probabilities of {len(studies)} studies in {folder}", "one each", remedy
        )
    return Predictions(folder, probabilities, studies)
