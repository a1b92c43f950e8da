"""Probabilities on disk: one uint8 map an image, at the network's size, beside the table of their studies.

The format that prediction writes and that decision, submission and report read; needs no network library.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data.columns import SCORED, read_studies, validate, validate_masks, write_studies
from pneumothorax.errors import UserError
from pneumothorax.training.provenance import write_note
from pneumothorax.workspace import reading, replace_folder

STEPS = 255  # a probability is stored as round(255 p): an error of at most 0.002

Maps = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Probabilities of some studies.

    Attributes:
        folder: Where they lie.
        probabilities: uint8 array of shape (N, S, S), 255 p, memory-mapped.
        studies: Table of N rows, see `data.columns`; EncodedPixels holds the truth where it is known,
            and `image_probability` the probability that an image shows a pneumothorax, where the network
            tells it.
    """

    folder: Path
    probabilities: Maps
    studies: pd.DataFrame

    @property
    def image_probability(self) -> Floats | None:
        """The image-level probabilities, shape (N,); None without a classification head."""
        if "image_probability" not in self.studies:
            return None
        return self.studies["image_probability"].to_numpy(np.float64)


def quantise(probabilities: npt.NDArray[np.floating]) -> Maps:
    """Turn probabilities in [0, 1], all of them finite, into uint8 values 255 p."""
    return np.rint(probabilities * STEPS).astype(np.uint8)


def write_predictions(
    folder: Path,
    batches: Iterable[Maps | tuple[Maps, Floats]],
    studies: pd.DataFrame,
    size: int,
    made_of: Mapping[str, str] | None = None,
) -> Predictions:
    """Write probabilities batch by batch; the folder appears when they are complete.

    Args:
        folder: Replaced if it is there, and only by a complete one.
        batches: uint8 arrays of shape (B, S, S), together N images in the order of `studies`; each alone, or
            in a pair with the image-level probability of its images, shape (B,).
        studies: N rows.
        size: S, in pixels.
        made_of: Digests of the weights, see `training.provenance`; None leaves them out.

    Raises:
        ValueError: The batches are not N images of that size together.
    """
    shape = (len(studies), size, size)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    written, image_probability = 0, []
    with replace_folder(folder) as build:
        with (build / "probabilities.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for batch in batches:
                maps, *values = batch if isinstance(batch, tuple) else (batch,)
                written += file.write(maps.tobytes())
                image_probability += values
        if written != np.prod(shape):
            raise ValueError(f"found {written} bytes of probabilities; expected {np.prod(shape)}")
        if image_probability:
            studies = studies.assign(image_probability=np.concatenate(image_probability).round(6))
        write_studies(build / "studies.csv", studies)
        if made_of is not None:
            write_note(build, made_of)
    return read_predictions(folder)


def read_predictions(folder: Path) -> Predictions:
    """Open probabilities that `write_predictions` wrote.

    Raises:
        UserError: There are none, not as many as studies, or one of the files is damaged.
    """
    command = _maker_of(folder)
    remedy = f"delete the folder and run `pneumothorax {command}`"
    array, table = folder / "probabilities.npy", folder / "studies.csv"
    if not table.is_file():
        raise UserError(
            f"no probabilities in {folder}", f"the output of `{command}`", f"run `pneumothorax {command}`"
        )
    with reading(array, "array of probabilities", command, remedy):
        probabilities = np.lib.format.open_memmap(array, mode="r")
        kind, shape = probabilities.dtype, probabilities.shape
        if kind != np.uint8 or len(shape) != 3 or shape[1] != shape[2] or not probabilities.size:
            raise ValueError(f"{kind} of shape {shape}, not uint8 of shape (N, S, S)")
    with reading(table, "table of studies", command, remedy):
        studies = read_studies(table)
        validate(studies, SCORED)
        validate_masks(studies)
    if len(probabilities) != len(studies):
        raise UserError(
            f"{len(probabilities)} probabilities of {len(studies)} studies in {folder}", "one each", remedy
        )
    return Predictions(folder, probabilities, studies)


def _maker_of(folder: Path) -> str:
    """Return the command that makes a folder of probabilities."""
    if folder.parent.name.startswith("fold"):
        return "train"
    run = folder.parent.parent if folder.parent.name == "predictions" else folder.parent
    return "ensemble" if (run / "ensemble.json").is_file() else "predict"
