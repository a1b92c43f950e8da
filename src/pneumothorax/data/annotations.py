"""Annotation CSVs in every variant that circulates -> one clean table, and one mask from several rows.

Knows the columns ImageId and EncodedPixels; does not know where images lie.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.data.columns import SUBMITTED
from pneumothorax.data.tables import quoted, read_rows
from pneumothorax.errors import UserError, warn

MISSING = ("", "nan", "NaN")  # texts of an empty mask, besides rle.EMPTY
EXCEL_CHARACTERS = 32_767  # Excel silently cuts a cell here


def read_annotations(path: Path) -> pd.DataFrame:
    """Read an annotation or submission CSV of any variant.

    Known variants: a space before the second column name and before the values (stage 1), none (stage 2), a
    byte-order mark without a header, gzip, zip. Missing text means an empty mask.

    Args:
        path: The CSV file.

    Returns:
        Table with the string columns ImageId and EncodedPixels ('-1' where empty), rows in file order.

    Raises:
        UserError: The file is missing, is not a CSV, or lacks one of the two columns.
    """
    if not path.is_file():
        raise UserError(f"no file {path}", "an annotation CSV", "check the path")
    rows = [row for row in read_rows(path, ",".join(SUBMITTED)) if len(row) > 1 or "".join(row).strip()]
    if not rows:
        raise UserError(f"{path} is not a CSV (it is empty)", ",".join(SUBMITTED))
    header = [cell.strip() for cell in rows[0]]
    names = header
    if "ImageId" in header:
        rows = rows[1:]
    elif len(header) == 2 and _is_code(header[1]):
        names = [*SUBMITTED]
    if missing := [name for name in SUBMITTED if name not in names]:
        shown = ", ".join(map(quoted, header[:5]))
        raise UserError(f"{path} has the columns {shown}", f"the columns {' and '.join(missing)}")
    if longer := next((row for row in rows if len(row) > len(names)), None):
        cells = quoted(",".join(longer))
        raise UserError(f"{path} is not a CSV ({len(longer)} cells in {cells})", ",".join(SUBMITTED))
    image, code = map(names.index, SUBMITTED)
    return pd.DataFrame([_pair(row, image, code) for row in rows], columns=pd.Index(SUBMITTED), dtype=str)


def _pair(row: list[str], image: int, code: int) -> tuple[str, str]:
    """Return ImageId and code of a row; cells that are missing at its end are empty."""
    cells = row + [""] * (max(image, code) + 1 - len(row))
    text = cells[code].strip(rle.SPACES)
    return cells[image].strip(), rle.EMPTY if text in MISSING else text


def check_codes(table: pd.DataFrame, source: Path, shape: tuple[int, int] = rle.SHAPE) -> None:
    """Check that the run-length code of every row decodes; warn of cells that Excel may have cut.

    Raises:
        UserError: One does not; the message names file, row and image.
    """
    for row, (image_id, text) in enumerate(zip(table["ImageId"], table["EncodedPixels"], strict=True), 1):
        try:
            rle.area(text, shape)
        except rle.RLEError as error:
            raise UserError(f"{source}, row {row}, {image_id[:60]}: {error}") from None
    warn_of_cuts(source, [at for at, text in enumerate(table["EncodedPixels"], 1) if is_cut(text)])


def is_cut(text: str) -> bool:
    """Return whether a cell has the length at which Excel cuts; few codes have it by chance."""
    return len(text) == EXCEL_CHARACTERS


def warn_of_cuts(source: Path, rows: list[int]) -> None:
    """Warn of cells that Excel may have cut, by the numbers of their rows."""
    if rows:
        shown = ", ".join(map(str, rows[:5])) + ", ..." * (len(rows) > 5)
        warn(
            f"{source}: the cell in row {shown} has exactly {EXCEL_CHARACTERS:,} characters, where Excel "
            "cuts; if Excel has saved this file, masks are lost: use the file from before"
        )


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
    """Return whether text is a run-length code or empty, judged by its first word."""
    words = text.split()
    return not words or words[0].lstrip("-").isdigit()
