"""Split studies into training, validation and test parts: folds grouped by patient, or the paper's split.

Pure functions of a table; reads no file.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe

PAPER_POSITIVES = {"train": 1802, "validation": 200, "test": 377}

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of one fold's parts, each int64 of shape (n,).

    Attributes:
        train: Training part.
        validation: Chooses the epoch: the held-out part, without negatives if the recipe leaves them out.
        out_of_fold: The whole held-out part, negatives included; the decision is tuned on it.
        test: Used by no choice; empty under the split 'folds'.
    """

    train: Rows
    validation: Rows
    out_of_fold: Rows
    test: Rows


def divide(table: pd.DataFrame, recipe: Recipe, fold: int) -> Split:
    """Split studies by the recipe.

    Args:
        table: Studies with ImageId, patient and area in pixels.
        recipe: Recipe with the split, its seed, and whether negatives train.
        fold: Number of the held-out fold; 0 for the paper's split.

    Raises:
        UserError: There is no such fold, or a part has no positive study.
    """
    if fold not in fold_numbers(recipe):
        remedy = "use --split folds" if recipe.split == "paper" else ""
        last = fold_numbers(recipe)[-1]
        raise UserError(f"fold {fold}", f"0 to {last} under the split {recipe.split!r}", remedy)
    if recipe.split == "folds":
        assigned = assign_folds(table, recipe.fold_count, recipe.seed)
        parts = np.where(assigned == fold, "validation", "train")
    else:
        parts = paper_split(table, recipe.seed)
    train, held_out, test = (np.flatnonzero(parts == part) for part in ("train", "validation", "test"))
    positive = table["area"].to_numpy() > 0
    validation = held_out
    if recipe.positives_only:
        train, validation = train[positive[train]], held_out[positive[held_out]]
    positives = (int(positive[train].sum()), int(positive[validation].sum()))
    if not all(positives):
        raise UserError(
            f"{positives[0]} positive studies to train on and {positives[1]} to validate in fold {fold}",
            "at least one of each",
            "prepare more annotated images, or use fewer folds",
        )
    return Split(train, validation, held_out, test)


def fold_numbers(recipe: Recipe) -> list[int]:
    """List the folds that a recipe's split has; the paper's has one."""
    return list(range(recipe.fold_count if recipe.split == "folds" else 1))


def assign_folds(table: pd.DataFrame, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Divide studies into folds that share no patient, alike in positives and in their areas.

    Args:
        table: Studies with the columns patient ('' if unknown: a group of its own), ImageId, and area in
            pixels at 1024x1024.
        folds: Number of folds.
        seed: Seed of the shuffling.

    Returns:
        int64 array of shape (N,): the fold of each row.

    Raises:
        UserError: There are fewer patients than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = patients_of(table)
    if (number := groups.nunique()) < folds:
        raise UserError(f"{number} patient{'s' * (number != 1)}", f"at least {folds} for {folds} folds")
    area = table["area"].to_numpy()
    strata = np.zeros(len(table), dtype=np.int64)
    if (area > 0).any():
        strata[area > 0] = 1 + np.digitize(area[area > 0], np.quantile(area[area > 0], [1 / 3, 2 / 3]))
    counts = np.bincount(strata)
    if counts[counts > 0].min() < folds:  # too few to stratify by area
        strata = np.minimum(strata, 1)
    if np.bincount(strata).max() < folds:  # too few even to stratify by positives
        strata[:] = 0
    # The seed decides between groups that are alike, by their number. scikit-learn's own shuffling balances
    # badly in 1.6, the version in Kaggle's image.
    codes, names = pd.factorize(groups)
    numbers = np.random.default_rng([seed, folds]).permutation(len(names))[codes]
    split = StratifiedGroupKFold(folds)
    assigned = np.empty(len(table), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for fold, (_, rows) in enumerate(split.split(strata, strata, numbers)):
            assigned[rows] = fold
    return assigned


def patients_of(table: pd.DataFrame) -> pd.Series:
    """Return the patient of each study; an unknown patient gets an id per image."""
    if "patient" not in table:
        return table["ImageId"].astype(object)
    names = table["patient"].astype(object).fillna("").astype(str)
    return names.where(names != "", table["ImageId"])


def paper_split(table: pd.DataFrame, seed: int) -> npt.NDArray[np.str_]:
    """Divide studies as the paper did: by image, so that a patient's images may lie on both sides.

    Of 2,379 positives 1,802 train, 200 validate and 377 test; other counts keep the proportions. Negatives,
    unused in the paper, are divided in the same proportions.

    Args:
        table: Studies with the column area, in pixels.
        seed: Seed of the shuffling.

    Returns:
        String array of shape (N,): 'train', 'validation' or 'test'.
    """
    total = sum(PAPER_POSITIVES.values())
    positive = table["area"].to_numpy() > 0
    parts = np.empty(len(table), dtype="<U10")
    generator = np.random.default_rng([seed, 1802])
    for rows in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        shuffled = generator.permutation(rows)
        ends = [round(len(rows) * PAPER_POSITIVES["train"] / total)]
        ends.append(ends[0] + round(len(rows) * PAPER_POSITIVES["validation"] / total))
        for part, chosen in zip(PAPER_POSITIVES, np.split(shuffled, ends), strict=True):
            parts[chosen] = part
    return parts
