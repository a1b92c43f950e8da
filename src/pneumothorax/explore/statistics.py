"""Counts of studies: rows of annotation, sides, patients, groups and folds. Pure functions of tables."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.data.folds import paper_split, patients_of
from pneumothorax.data.laterality import side_of

DECADES = tuple(range(0, 90, 10))  # years, lower ends of the age groups; the last is open
MOST_GROUPS = 6  # of a view; a DICOM tag may hold anything
OTHER, UNKNOWN = "other", "unknown"

Fact = tuple[str, int, str]  # label, count, and its unit or share


class RowCounts(NamedTuple):
    """Counts of annotation rows per image.

    Attributes:
        images: Number of images by their number of rows.
        overlapping: Images with rows that share pixels.
    """

    images: dict[int, int]
    overlapping: int


class Leak(NamedTuple):
    """Leak of a split by image: patients on several sides, and their held-out images."""

    patients: int
    images: int
    held_out: int


def describe(studies: pd.DataFrame) -> str:
    """Return the counts of some studies as an aligned text table (see `count_facts`)."""
    rows = count_facts(studies)
    wide, long = max(len(name) for name, *_ in rows), max(len(f"{count:,}") for _, count, _ in rows)
    return "\n".join(f"{name:<{wide}}  {count:>{long},}  {note}".rstrip() for name, count, note in rows)


def count_facts(studies: pd.DataFrame) -> list[Fact]:
    """Count images, positives, patients, areas and views.

    Args:
        studies: Table with patient, view (both '' if unknown) and area in pixels at 1024x1024.
    """
    number = len(studies)
    areas = studies["area"].to_numpy()
    positive = areas[areas > 0]
    known = studies["patient"].fillna("").astype(str)
    rows = [
        ("images", number, ""),
        ("with a pneumothorax", len(positive), _share(len(positive), number)),
        ("patients", known[known != ""].nunique(), ""),
    ]
    if unknown := int((known == "").sum()):
        rows.append(("images of unknown patients", unknown, _share(unknown, number)))
    if len(positive):
        for name, value in (
            ("median", np.median(positive)),
            ("mean", positive.mean()),
            ("largest", positive.max()),
        ):
            rows.append((f"{name} area", round(float(value)), "pixels at 1024x1024"))
    views = studies["view"].fillna("").astype(str).value_counts().sort_index()
    if list(views.index) != [""]:
        rows += [
            (f"view {name or 'unknown'}", int(count), _share(count, number)) for name, count in views.items()
        ]
    return rows


def count_rows(codes: Sequence[tuple[str, ...]], areas: npt.NDArray[np.generic]) -> RowCounts:
    """Count the rows that annotate each positive image.

    Args:
        codes: Run-length codes of each image.
        areas: Shape (N,), area of their union, in pixels.
    """
    numbers = Counter(len(rows) for rows in codes if rows)
    several = [at for at, rows in enumerate(codes) if len(rows) > 1]
    overlapping = sum(sum(map(rle.area, codes[at])) > areas[at] for at in several)
    return RowCounts(dict(sorted(numbers.items())), int(overlapping))


def count_sides(masks: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> dict[str, int]:
    """Count masks by side of the patient, with `laterality.side_of`.

    Args:
        masks: uint8 array of shape (N, S, S), which may be memory-mapped.
        rows: Row numbers of the masks to count.
    """
    sides = pd.Series([side_of(masks[row]) for row in rows], dtype=str)
    return {side: int((sides == side).sum()) for side in ("left", "right", "both")}


def count_patients(studies: pd.DataFrame) -> dict[str, int]:
    """Count patients by their images; of studies with patient ('' if unknown) and area."""
    known = studies[studies["patient"] != ""]
    of_patient = (known["area"] > 0).groupby(known["patient"]).agg(["size", "sum"])
    size, positive = of_patient["size"], of_patient["sum"]
    return {
        "patients": len(size),
        "with several images": int((size > 1).sum()),
        "most images of one patient": int(size.max()) if len(size) else 0,
        "with and without a pneumothorax": int(((positive > 0) & (positive < size)).sum()),
        "images of unknown patients": len(studies) - len(known),
    }


def count_groups(studies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Count images and positives by view, sex and age; of studies with these columns and area.

    Returns:
        Of 'view', 'sex' and 'age' a table with the columns images and positive, named by group.
    """
    positive = studies["area"] > 0
    text = {name: studies[name].fillna("").astype(str).replace("", UNKNOWN) for name in ("view", "sex")}
    common = text["view"].value_counts().index[:MOST_GROUPS]
    text["view"] = text["view"].where(text["view"].isin(common), OTHER)
    groups = {name: positive.groupby(column) for name, column in text.items()}
    ages = pd.to_numeric(studies["age"], errors="coerce").to_numpy(np.float64)
    labels = [f"{low}-{low + 9}" for low in DECADES[:-1]] + [f"{DECADES[-1]}+", UNKNOWN]
    places = np.where(np.isnan(ages), len(DECADES), np.digitize(ages, DECADES) - 1)
    of_age = pd.CategoricalIndex(np.array(labels)[places], labels)
    groups["age"] = positive.groupby(of_age, observed=True)
    return {
        name: found.agg(["size", "sum"]).set_axis(["images", "positive"], axis=1)
        for name, found in groups.items()
    }


def count_folds(studies: pd.DataFrame, fold_of_row: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Count images, positives and patients of each fold.

    Args:
        studies: Table of N rows with ImageId, patient ('' if unknown: a patient of its own) and area.
        fold_of_row: Shape (N,), the fold of each row.

    Returns:
        One row a fold: images, positive, patients, and median area of the positives (NaN without any).
    """
    areas = studies["area"].astype(float)
    rows = pd.DataFrame(
        {
            "fold": np.asarray(fold_of_row),
            "positive": (areas > 0).to_numpy(),
            "area": areas.where(areas > 0).to_numpy(),
            "patient": patients_of(studies).to_numpy(),
        }
    )
    folds = rows.groupby("fold")
    return pd.DataFrame(
        {
            "images": folds.size(),
            "positive": folds["positive"].sum(),
            "patients": folds["patient"].nunique(),
            "median_area": folds["area"].median(),
        }
    )


def count_shared(studies: pd.DataFrame, part_of_row: npt.NDArray[np.generic]) -> int:
    """Count the patients who have images in more than one part, such as a fold."""
    parts = pd.Series(part_of_row).groupby(patients_of(studies).to_numpy())
    return int((parts.nunique() > 1).sum())


def count_leak(studies: pd.DataFrame, seed: int) -> Leak:
    """Count the leak of the paper's split by image: held-out images whose patient trains as well."""
    parts = pd.Series(paper_split(studies, seed))
    patients = patients_of(studies).reset_index(drop=True)
    held_out = parts != "train"
    leaked = held_out & patients.isin(patients[~held_out])
    return Leak(count_shared(studies, parts.to_numpy()), int(leaked.sum()), int(held_out.sum()))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
