"""Find identical and nearly identical images: pairs, and whether both share patient, label and fold.

A network recognises the same picture on both sides of a split. Pure functions of arrays and tables.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.explore.outliers import Survey, standardise

SIDE = 16  # pixels; images are compared at this size
# Minimal correlation of near-duplicates. Of 5.1 million pairs of real images 2 reach it, apparently of one
# person; of copies, all reach it if brightened or saved again, 98 % if moved by 1 % of the side, 99 % if
# turned by 2 degrees, 89 % if enlarged by 3 %.
ALIKE = 0.98
BLOCK = 256  # images compared with all others at a time
MOST = 20_000  # pairs kept, most alike first

Rows = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of rows, the earlier first.

    Attributes:
        rows: int64 array of shape (P, 2).
        likeness: float32 array of shape (P,), correlation of the images; 1 if they are identical.
        identical: bool array of shape (P,): the same pixels. Each copy is paired with the first of its kind.
        left_out: Number of pairs beyond `MOST`.
    """

    rows: Rows
    likeness: npt.NDArray[np.float32]
    identical: npt.NDArray[np.bool_]
    left_out: int


def find_pairs(survey: Survey) -> Pairs:
    """Find the pairs of images that are identical or nearly so.

    Copies are compared with others by their first alone, and nearly flat images only for identity:
    their little contrast is noise.
    """
    copies = np.flatnonzero(survey.first != np.arange(len(survey.first)))
    same = np.stack([survey.first[copies], copies], axis=1)
    singles = np.flatnonzero((survey.first == np.arange(len(survey.first))) & ~survey.flat)
    near, likeness, number = _find_near(standardise(survey.small[singles], SIDE))
    rows = np.concatenate([same, singles[near]])
    alike = np.concatenate([np.ones(len(same), np.float32), likeness])
    identical = np.arange(len(rows)) < len(same)
    kept = np.argsort(-alike, kind="stable")[:MOST]
    return Pairs(rows[kept], alike[kept], identical[kept], len(same) + number - len(kept))


def _find_near(vectors: npt.NDArray[np.float32]) -> tuple[Rows, npt.NDArray[np.float32], int]:
    """Return the pairs of highest likeness, the likeness, and the number of all pairs; in little memory."""
    rows, likeness = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    number = 0
    for start in range(0, len(vectors), BLOCK):
        products = vectors[start : start + BLOCK] @ vectors[start:].T
        pairs = np.stack(np.nonzero(np.triu(products >= ALIKE, 1)), axis=1)
        number += len(pairs)
        rows = np.concatenate([rows, pairs + start])
        likeness = np.concatenate([likeness, products[pairs[:, 0], pairs[:, 1]]])
        if len(rows) > MOST:
            kept = np.argpartition(-likeness, MOST)[:MOST]
            rows, likeness = rows[kept], likeness[kept]
    return rows, likeness, number


def compare_pairs(pairs: Pairs, studies: pd.DataFrame) -> pd.DataFrame:
    """Compare patient, label and fold of the two images of each pair.

    Args:
        pairs: Pairs of row numbers of `studies`.
        studies: Table with patient ('' if unknown), area in pixels, part ('train' or 'test') and fold
            (-1 without one).

    Returns:
        One row a pair, most important first: one, other (rows of studies), likeness, identical, patient
        ('same', 'other' or 'unknown'), label ('same', 'differs', or 'unknown' for test images), place
        ('same fold', 'other fold', 'no fold', 'train and test' or 'test') and matters: the labels differ, or
        the pair lies on both sides of a split.
    """
    one, other = (studies.iloc[rows].reset_index(drop=True) for rows in pairs.rows.T)
    known = (one["patient"] != "") & (other["patient"] != "")
    both_train, both_test = ((one["part"] == part) & (other["part"] == part) for part in ("train", "test"))
    same_label = (one["area"] > 0) == (other["area"] > 0)
    places = {
        "test": both_test,
        "train and test": ~both_train,
        "no fold": one["fold"] < 0,
        "same fold": one["fold"] == other["fold"],
    }
    table = pd.DataFrame(
        {
            "one": pairs.rows[:, 0],
            "other": pairs.rows[:, 1],
            "likeness": pairs.likeness,
            "identical": pairs.identical,
            "patient": np.where(
                known, np.where(one["patient"] == other["patient"], "same", "other"), "unknown"
            ),
            "label": np.where(both_train, np.where(same_label, "same", "differs"), "unknown"),
            "place": np.select(list(places.values()), list(places), default="other fold"),
        }
    )
    table["matters"] = (table["label"] == "differs") | table["place"].isin(["other fold", "train and test"])
    # A wrong label is worse than a leak between folds, and that worse than a test image that trains.
    table["rank"] = (
        3 - table["matters"] - (table["place"] == "other fold") - 2 * (table["label"] == "differs")
    )
    table = table.sort_values(["identical", "likeness"], ascending=False, kind="stable")
    return table.sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank")
