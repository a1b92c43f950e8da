"""Images divided among processes, and their predictions joined again; needs no network library."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from pneumothorax.inference.predictions import (
    Floats,
    Maps,
    Predictions,
    read_predictions,
    write_predictions,
)

AT_ONCE = 256  # maps copied at a time

Span = tuple[int, int]  # first row, and the row after the last


def divide_rows(count: int, parts: int) -> list[Span]:
    """Divide rows into contiguous parts of nearly equal length, fewer where there are fewer rows."""
    parts = min(parts, count)
    ends = [round(number * count / parts) for number in range(parts + 1)]
    return list(pairwise(ends))


def part_folder(folder: Path, rows: Span) -> Path:
    """Return the folder in which a process leaves its part of some predictions."""
    return _parts_of(folder) / f"{rows[0]}-{rows[1]}"


def remove_parts(folder: Path) -> None:
    """Remove the parts of some predictions, if there are any."""
    shutil.rmtree(_parts_of(folder), ignore_errors=True)


def join_parts(
    folder: Path, spans: Sequence[Span], studies: pd.DataFrame, size: int, made_of: Mapping[str, str]
) -> Predictions:
    """Write the predictions of all parts as one; the parts stay.

    Args:
        folder: Replaced if it is there.
        spans: The parts, in order, all rows of `studies` together.
        studies: N rows.
        size: Side of the maps in pixels.
        made_of: Digests of the folds' weights, noted with the result.

    Raises:
        UserError: A part is missing or damaged.
    """
    return write_predictions(folder, _read(folder, spans), studies, size, made_of)


def _read(folder: Path, spans: Sequence[Span]) -> Iterator[Maps | tuple[Maps, Floats]]:
    for span in spans:
        part = read_predictions(part_folder(folder, span))
        image_probability = part.image_probability
        for first in range(0, len(part.studies), AT_ONCE):
            chosen = slice(first, first + AT_ONCE)
            maps = part.probabilities[chosen]
            yield maps if image_probability is None else (maps, image_probability[chosen])


def _parts_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".parts")
