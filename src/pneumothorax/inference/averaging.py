"""Probabilities of several runs -> their weighted mean, keyed by ImageId, at the largest size of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from pneumothorax.data.columns import TRUTH
from pneumothorax.errors import UserError, warn
from pneumothorax.inference.predictions import STEPS, Maps, Predictions, quantise, write_predictions


@dataclass(frozen=True)
class Source:
    """One run's probabilities of one set of images, which may lie in several folds.

    Attributes:
        run: Its name.
        weight: Above 0.
        parts: The probabilities.
    """

    run: str
    weight: float
    parts: Sequence[Predictions]

    @cached_property
    def studies(self) -> pd.DataFrame:
        """The studies of all parts, by ImageId."""
        tables = [part.studies for part in self.parts]
        table = pd.concat(tables) if len(tables) > 1 else tables[0]
        return table.set_index("ImageId", drop=False)

    @property
    def has_head(self) -> bool:
        """Whether all parts have a classification head."""
        return all(part.image_probability is not None for part in self.parts)

    def places_of(self, ids: pd.Index) -> npt.NDArray[np.int64]:
        """Return part and row of each image, shape (N, 2)."""
        places = [(at, row) for at, part in enumerate(self.parts) for row in range(len(part.studies))]
        return np.array(places)[self.studies.index.get_indexer(ids)]


def check_agreement(sources: Sequence[Source], name: str, remedy: str) -> None:
    """Make sure that all runs have the same images, each once, with the same truth.

    Args:
        sources: The runs.
        name: Of the set of images, for the message.
        remedy: The next step if a run lacks images.

    Raises:
        UserError: They differ; the message counts the images and names one.
    """
    everyone = pd.Index([]).append([source.studies.index for source in sources]).unique()
    first = sources[0]
    for source in sources:
        ids = source.studies.index
        if (twice := ids.duplicated()).any():
            raise UserError(
                f"run {source.run} has {_counted(twice.sum())} twice in {name}, such as {ids[twice][0]}",
                "folds that share no image",
            )
        if len(missing := everyone.difference(ids, sort=False)):
            raise UserError(
                f"run {source.run} lacks {len(missing):,} of {len(everyone):,} images in {name}, "
                f"such as {missing[0]}",
                "the same images in all runs",
                remedy,
            )
    for source in sources[1:]:
        ours, theirs = (one.studies.loc[first.studies.index, [*TRUTH]] for one in (first, source))
        if (differs := (ours != theirs).any(axis=1)).any():
            raise UserError(
                f"runs {first.run} and {source.run} know other masks of {_counted(differs.sum())} in {name}, "
                f"such as {ours.index[differs][0]}",
                "one truth",
                "prepare and train both from the same annotations",
            )


def average(sources: Sequence[Source], folder: Path) -> Predictions:
    """Write the weighted mean of runs that agree, in the order of the first, at the largest size.

    Smaller maps are brought to that size by bilinear interpolation. The image-level probability is averaged
    where all runs have one; where only some do it is left out, with a warning.
    """
    size = max(part.probabilities.shape[1] for source in sources for part in source.parts)
    studies = sources[0].studies.drop(columns="image_probability", errors="ignore")
    silent = [source.run for source in sources if not source.has_head]
    if not silent:
        values = [source.studies["image_probability"].loc[studies.index] for source in sources]
        mean = np.average(values, axis=0, weights=[source.weight for source in sources])
        studies = studies.assign(image_probability=mean.round(6))
    elif len(silent) < len(sources):
        warn(
            f"{', '.join(silent)} has no classification head: {folder.name} has no image-level probability, "
            "and no classification threshold"
        )
    maps = _mean_maps(sources, studies.index, size, f"average {folder.name}")
    return write_predictions(folder, maps, studies.reset_index(drop=True), size)


def _counted(number: int) -> str:
    return f"{number:,} image" + ("s" if number != 1 else "")


def mean_map(maps: Sequence[Maps], weights: Sequence[float], size: int) -> Maps:
    """Return the weighted mean of some maps of one image, at one size.

    Args:
        maps: uint8 arrays of shape (S, S), values 255 p, each of a size of its own.
        weights: Of each, above 0; they need not sum to 1.
        size: Side of the mean, in pixels.

    Returns:
        uint8 array of shape (size, size), values 255 p.
    """
    whole, total = sum(weights), np.zeros((size, size), np.float32)
    for one, weight in zip(maps, weights, strict=True):
        values = one.astype(np.float32)
        if values.shape != total.shape:
            values = cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR).astype(
                np.float32, copy=False
            )
        total += np.float32(weight / whole) * values
    return quantise(total / STEPS)


def _mean_maps(sources: Sequence[Source], ids: pd.Index, size: int, title: str) -> Iterator[Maps]:
    """Yield the quantised mean map of each image, uint8 of shape (1, S, S)."""
    weights = [source.weight for source in sources]
    places = [source.places_of(ids) for source in sources]
    for at in tqdm(range(len(ids)), title, unit="image", disable=None):
        found = ((source, *place[at]) for source, place in zip(sources, places, strict=True))
        yield mean_map([source.parts[part].probabilities[row] for source, part, row in found], weights, size)[
            None
        ]
