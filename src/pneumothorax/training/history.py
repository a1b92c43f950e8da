"""The history of a fold's training, one row an epoch, and the column that picks the best epochs.

Needs no network library.
"""

import numpy as np
import pandas as pd

from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe
from pneumothorax.training.fold_folder import REMEDY, FoldFolder, read_recipe
from pneumothorax.workspace import atomic, reading

DRAWN = ("epoch", "loss", "mean_dice", "val_loss", "val_mean_dice", "learning_rate")  # of every history
MOST_LEGS = 1000
LEAST_GAIN = 5e-5  # of mean Dice: 0 to the four digits that a score has


def monitored(recipe: Recipe) -> str:
    """Return the column of the history that picks the best epochs; higher is better."""
    return "val_mean_dice" if recipe.monitor == "soft_dice" else f"val_{recipe.monitor}"


def useless(fold: FoldFolder) -> bool:
    """Return whether no epoch of a fold, picked by its gain, beat leaving every image empty."""
    if read_recipe(fold).monitor != "gain" or not fold.history.is_file():
        return False
    return bool(read_history(fold, "val_gain")["val_gain"].max() < LEAST_GAIN)


def write_history(fold: FoldFolder, rows: list[dict[str, float]]) -> None:
    """Write history.csv, one row an epoch, in one step."""
    with atomic(fold.history) as path:
        pd.DataFrame(rows).to_csv(path, index=False)


def read_history(fold: FoldFolder, *needed: str) -> pd.DataFrame:
    """Read history.csv; a value that is not a finite number is NaN, except in the epochs and legs.

    Args:
        fold: Folder of the fold.
        *needed: Columns that must be there besides those of every history.

    Raises:
        UserError: It is missing or damaged.
    """
    if not fold.history.is_file():
        raise UserError(f"no {fold.history}", "the history of a trained fold", "run `pneumothorax train`")
    with reading(fold.history, "history of training", "train", REMEDY):
        rows = pd.read_csv(fold.history, dtype=np.float64).replace([np.inf, -np.inf], np.nan)
        if lacking := [name for name in (*DRAWN, *needed) if name not in rows]:
            raise ValueError(f"no column {', '.join(lacking)}")
        if rows["epoch"].isna().any():
            raise ValueError("a row without an epoch")
        if "leg" in rows and not rows["leg"].between(1, MOST_LEGS).all():
            raise ValueError("a row without the number of its leg")
    return rows
