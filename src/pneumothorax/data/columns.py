"""Columns of a table of studies, `studies.csv`: names, types, units and checks.

The cache and the predictions store such a table next to their arrays. Knows no arrays.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from pneumothorax.data import rle
from pneumothorax.workspace import write_text

MOST_PIXELS = 2**30  # of a true mask


@dataclass(frozen=True)
class Column:
    """A column of a table of studies.

    Attributes:
        kind: 'text' may be empty, 'pixels' are whole, a 'number' may be unknown, a 'probability' is 0 to 1.
        meaning: Content, with its unit.
        least: Smallest value of 'pixels'.
    """

    kind: Literal["text", "pixels", "number", "probability"]
    meaning: str
    least: int = 0


COLUMNS = {
    "ImageId": Column("text", "name of the image"),
    "path": Column("text", "file of the image"),
    "EncodedPixels": Column("text", "run-length code of the union of its masks at full size; -1 if empty"),
    "area": Column("pixels", "area of that union"),
    "height": Column("pixels", "height of the image at full size", least=1),
    "width": Column("pixels", "width of the image at full size", least=1),
    "view": Column("text", "AP or PA"),
    "sex": Column("text", "F or M"),
    "patient": Column("text", "name of the patient"),
    "age": Column("number", "age in years"),
    "spacing_row_mm": Column("number", "distance between rows in mm"),
    "spacing_column_mm": Column("number", "distance between columns in mm"),
    "image_probability": Column("probability", "probability of a pneumothorax, by a classification head"),
}
TEXT = tuple(name for name, column in COLUMNS.items() if column.kind == "text")
PREPARED = tuple(name for name in COLUMNS if name != "image_probability")  # of a cache
TRUTH = ("EncodedPixels", "height", "width")
SCORED = ("ImageId", "area", *TRUTH)  # of probabilities that are scored
SUBMITTED = ("ImageId", "EncodedPixels")  # of Kaggle's CSV files


def read_studies(path: Path) -> pd.DataFrame:
    """Read a ``studies.csv``, its text columns as text."""
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values={})
    for name in table.columns.difference([*TEXT]):
        table[name] = pd.to_numeric(table[name])
    return table


def write_studies(path: Path, table: pd.DataFrame) -> None:
    """Write a ``studies.csv``; the inverse of `read_studies`."""
    text = table.to_csv(index=False)
    if "\r" in text:  # a line end for pandas where it is not quoted, which Python leaves out
        text = table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    write_text(path, text)


def validate(table: pd.DataFrame, needed: Sequence[str]) -> None:
    """Check the columns of a table of studies that are there, and that the needed ones are.

    Args:
        table: N studies.
        needed: Names of columns.

    Raises:
        ValueError: A column is missing, or a value is not of its column's kind.
    """
    if lacking := [name for name in needed if name not in table]:
        raise ValueError(f"no column {', '.join(lacking)}")
    if table[table.columns.intersection([*TEXT])].isna().any(axis=None):
        raise ValueError("a row with too few values")
    for name in table.columns.intersection([*COLUMNS]):
        values, column = table[name], COLUMNS[name]
        if column.kind == "pixels" and (values.dtype.kind != "i" or values.min() < column.least):
            raise ValueError(f"a value of {name} that is no number of pixels")
        if column.kind == "probability" and not values.between(0, 1).all():
            raise ValueError(f"a value of {name} that is no probability from 0 to 1")


def validate_masks(table: pd.DataFrame) -> None:
    """Check the run-length code of every study.

    Args:
        table: N studies with the columns `SCORED`.

    Raises:
        ValueError: A code is not one of a mask of its image's size.
    """
    columns = table[["ImageId", *TRUTH]].itertuples(index=False, name=None)
    for name, code, height, width in columns:
        if height * width > MOST_PIXELS:
            raise ValueError(f"image {name} of {height}x{width} pixels")
        try:
            rle.area(code, (height, width))
        except rle.RLEError as error:
            raise ValueError(f"image {name}: {error}") from None
