"""The encoder's view of all training images, by a fold's network, on disk; needs no network library.

``fold<k>/features/`` holds ``features.npy`` (float16 of shape (N, C), the encoder's output averaged over the
image), ``grad_cam.npy`` (float16 of shape (N, h, w), of networks with a classification head), ``studies.csv``
(row i describes row i of the arrays) and ``made_of.json``. `inference.encoding` writes it; the pages read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data.columns import SCORED, read_studies, validate, validate_masks, write_studies
from pneumothorax.data.folds import patients_of
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.provenance import write_note
from pneumothorax.training.run import is_newer
from pneumothorax.workspace import reading, replace_folder

COMMAND = "report RUN --explain"
FEATURES, GRAD_CAM, STUDIES = "features.npy", "grad_cam.npy", "studies.csv"

Halves = npt.NDArray[np.float16]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """Features of all prepared training images, N together, by one fold's network.

    Attributes:
        values: float16 array of shape (N, C), memory-mapped.
        grad_cam: float16 array of shape (N, h, w), memory-mapped; None without a classification head.
        studies: Table of N rows: a cache's columns; `trained`, 1 where the image lies in the fold's training
            part (of which a recipe may leave out the negatives) and 0 where it is held out; and `first`, the
            row of the first image with the same pixels, mostly its own.
    """

    values: Halves
    grad_cam: Halves | None
    studies: pd.DataFrame

    @property
    def trained(self) -> Rows:
        """Rows of the training part."""
        return np.flatnonzero(self.studies["trained"].to_numpy() == 1)

    @property
    def held_out(self) -> Rows:
        """Rows of images that the fold did not train on."""
        return np.flatnonzero(self.studies["trained"].to_numpy() == 0)

    @property
    def patients(self) -> Rows:
        """A number for each row's patient, shape (N,); unknown patients are one for each image."""
        return pd.factorize(patients_of(self.studies))[0].astype(np.int64)


def features_folder(fold: FoldFolder) -> Path:
    """Return the folder of a fold's features."""
    return fold.path / "features"


def is_current(fold: FoldFolder) -> bool:
    """Return whether a fold has features, of its present weights."""
    return is_newer(features_folder(fold) / STUDIES, fold)


def write_features(
    fold: FoldFolder,
    values: Halves,
    grad_cam: Halves | None,
    studies: pd.DataFrame,
    made_of: Mapping[str, str],
) -> None:
    """Write a fold's features; the folder appears, or is replaced, when it is complete."""
    with replace_folder(features_folder(fold)) as build:
        np.save(build / FEATURES, values)
        if grad_cam is not None:
            np.save(build / GRAD_CAM, grad_cam)
        write_studies(build / STUDIES, studies)
        write_note(build, made_of)


def read_features(fold: FoldFolder) -> Features | None:
    """Open a fold's features; None if there are none, or of other weights than the fold's.

    Raises:
        UserError: A file is damaged.
    """
    if not is_current(fold):
        return None
    folder = features_folder(fold)
    remedy = f"delete {folder} and run `pneumothorax {COMMAND}`"
    with reading(folder / STUDIES, "table of studies", COMMAND, remedy) as path:
        studies = read_studies(path)
        validate(studies, [*SCORED, "path", "patient", "trained", "first"])
        validate_masks(studies)
    values = _map(folder / FEATURES, (len(studies), None), remedy)
    has_grad_cam = (folder / GRAD_CAM).is_file()
    grad_cam = _map(folder / GRAD_CAM, (len(studies), None, None), remedy) if has_grad_cam else None
    return Features(values, grad_cam, studies)


def _map(path: Path, shape: tuple[int | None, ...], remedy: str) -> Halves:
    """Map an array file of some shape into memory; None stands for any length.

    Raises:
        UserError: It is no such file.
    """
    with reading(path, "array of features", COMMAND, remedy):
        array = np.lib.format.open_memmap(path, mode="r")
        fits = array.ndim == len(shape) and all(
            wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
        )
        if array.dtype != np.float16 or not fits:
            raise ValueError(f"{array.dtype} of shape {array.shape}, not float16 of {shape[0]} images")
    return array
