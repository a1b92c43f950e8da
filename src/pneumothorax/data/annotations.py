"""Annotation CSVs in every variant that circulates -> one clean table, and one mask from several rows.

Knows the columns ImageId and EncodedPixels; does not know where images lie.
"""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.errors import UserError

COLUMNS = ["ImageId", "EncodedPixels"]

# The last two come from gzip files that are cut short or damaged.
_NO_CSV = (
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
    UnicodeDecodeError,
    OSError,
    EOFError,
    zlib.error,
)


def read_annotations(path: Path) -> pd.DataFrame:
    """Read an annotation or submission CSV, whatever its variant.

    Known variants: a space before the second column name and before the values (stage 1), none (stage 2), a
    byte-order mark without a header, gzip. Missing text means an empty mask.

    Args:
        path: The CSV file.

    Returns:
        Table with the string columns ImageId and EncodedPixels ('-1' where empty), rows in file order.

    Raises:
        UserError: The file is missing, is no CSV, or has not the two columns.
    """
    if not path.is_file():
        raise UserError(f"no file {path}", "an annotation CSV", "check the path")
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        table = pd.read_csv(
            path,
            dtype=str,
            header=None,
            encoding="utf-8-sig",
            keep_default_na=False,
            compression="gzip" if zipped else None,
        )
    except _NO_CSV as error:
        raise UserError(f"{path} is no CSV ({error})", ",".join(COLUMNS)) from None
    table = table.fillna("").apply(lambda column: column.str.strip())
    header = table.iloc[0].tolist()
    if "ImageId" in header:
        table.columns = pd.Index(header)
        table = table.iloc[1:]
    elif table.shape[1] == 2 and _is_code(table.iat[0, 1]):
        table.columns = pd.Index(COLUMNS)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise UserError(f"{path} has the columns {header[:5]}", f"the columns {' and '.join(missing)}")
    table = table[COLUMNS].reset_index(drop=True)
    table["EncodedPixels"] = table["EncodedPixels"].replace(
        {"": rle.EMPTY, "nan": rle.EMPTY, "NaN": rle.EMPTY}
    )
    return table


def check_codes(table: pd.DataFrame, source: Path, shape: tuple[int, int] = rle.SHAPE) -> None:
    """Check that the run-length code of every row decodes.

    Raises:
        UserError: A row does not; the message names file, row and image.
    """
    for row, (image_id, text) in enumerate(zip(table["ImageId"], table["EncodedPixels"], strict=True), 1):
        try:
            rle.area(text, shape)
        except rle.RLEError as error:
            raise UserError(f"{source}, row {row}, {image_id}: {error}") from None


def group_codes(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Gather the run-length codes of each image; an image without a mask has an empty tuple.

    Rows of one image need not be adjacent.
    """
    return {
        str(image_id): tuple(code for code in codes if code != rle.EMPTY)
        for image_id, codes in table.groupby("ImageId", sort=False)["EncodedPixels"]
    }


def draw_union(codes: tuple[str, ...], shape: tuple[int, int] = rle.SHAPE) -> rle.Mask:
    """Draw the union of several annotations of one image.

    Returns:
        uint8 array of shape (H, W), values {0, 1}.
    """
    mask = np.zeros(shape, dtype=np.uint8)
    for code in codes:
        mask |= rle.decode(code, shape)
    return mask


def _is_code(text: str) -> bool:
    """Tell whether text is a run-length code or empty, by its first word."""
    words = text.split()
    return not words or words[0].lstrip("-").isdigit()
