"""The run folder's contract: its files, and how they are read and written; needs no network library.

``runs/<name>/fold<k>/`` holds ``recipe.json``, ``environment.json`` (versions, precision),
``best.weights.h5``, ``history.csv``, ``state.npz`` (all that an exact resume needs), ``sessions.json`` (when,
where and from which commit it was trained), ``encoder_weights.json`` (the origin of the encoder's weights, if
any), and after training the probabilities in ``out_of_fold/`` and
``test/`` and the scores in ``scores.json``.
``runs/<name>/decision.json`` comes from `tune`.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pneumothorax import __version__
from pneumothorax.errors import UserError, nearest
from pneumothorax.recipe import Recipe, differences, from_json, to_json
from pneumothorax.training.provenance import digest_weights, read_note
from pneumothorax.workspace import atomic, reading, write_text

DRAWN = ("epoch", "loss", "mean_dice", "val_loss", "val_mean_dice", "learning_rate")  # of every history
LEAST_GAIN = 5e-5  # of mean Dice: 0 to the four digits that a score has
REMEDY = "copy it again, or delete the fold's folder and run `pneumothorax train`"


@dataclass(frozen=True)
class FoldFolder:
    """The paths of one trained fold."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe as JSON."""
        return self.path / "recipe.json"

    @property
    def environment(self) -> Path:
        """Versions and precision as JSON."""
        return self.path / "environment.json"

    @property
    def weights(self) -> Path:
        """The weights of the best epoch."""
        return self.path / "best.weights.h5"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def state(self) -> Path:
        """All that an exact resume needs."""
        return self.path / "state.npz"

    @property
    def scores(self) -> Path:
        """The fold's scores, as JSON."""
        return self.path / "scores.json"

    @property
    def out_of_fold(self) -> Path:
        """Probabilities of the held-out part."""
        return self.path / "out_of_fold"

    @property
    def test(self) -> Path:
        """Probabilities of the paper's test part."""
        return self.path / "test"


@dataclass
class State:
    """Training at the end of an epoch.

    Attributes:
        epoch: Epochs done, of all legs.
        variables: Arrays of the network's and the optimiser's variables, in their order; empty if a leg is
            over and the next begins with the fold's weights.
        callbacks: Attributes of each watched callback; of none if a leg is over.
        history: One row an epoch.
        finished: Whether training has ended.
        leg: The leg that is trained next, counted from 0.
    """

    epoch: int
    variables: list[np.ndarray]
    callbacks: dict[str, dict[str, Any]]
    history: list[dict[str, float]]
    finished: bool
    leg: int = 0

    @property
    def leg_epochs(self) -> int:
        """Epochs done of the leg that is trained next."""
        return sum(row.get("leg", 1) == self.leg + 1 for row in self.history)


def fold_folders(run: Path) -> list[FoldFolder]:
    """List the folders ``fold<k>`` of a run, trained or not, without copies such as fold0.bak."""
    return [FoldFolder(path) for path in sorted(run.glob("fold*")) if re.fullmatch("fold[0-9]+", path.name)]


def check_exists(run: Path) -> Path:
    """Return a run's folder.

    Raises:
        UserError: It is not there.
    """
    if not run.is_dir():
        there = sorted(path.name for path in run.parent.glob("*") if path.is_dir())
        raise UserError(
            f"no run {run}",
            f"one of {', '.join(there) or 'none yet'}",
            nearest(run.name, there) or "run `pneumothorax train`",
        )
    return run


def find_folds(run: Path) -> list[FoldFolder]:
    """List the trained folds of a run.

    Raises:
        UserError: There is no run, no fold with weights in it, or a fold that has not finished or whose state
            is damaged.
    """
    check_exists(run)
    folds = [fold for fold in fold_folders(run) if fold.weights.is_file()]
    if not folds:
        raise UserError(f"no trained fold in {run}", "fold<k>/best.weights.h5", "run `pneumothorax train`")
    for fold in folds:
        state = load_state(fold, with_variables=False)
        if state is not None and not state.finished:
            raise UserError(
                f"{fold.path} has trained {state.epoch} epochs and not finished",
                "finished folds alone",
                "run the same `pneumothorax train` again, or move the folder away",
            )
    return folds


def is_newer(path: Path, fold: FoldFolder) -> bool:
    """Return whether a file exists and was made of a fold's present weights (see `training.provenance`)."""
    if path.is_file() and (note := read_note(path)) is not None:
        return note.get(fold.path.name) == digest_weights(fold.weights)
    return path.is_file() and path.stat().st_mtime_ns > fold.weights.stat().st_mtime_ns


def newer_folds(path: Path, trained: Sequence[FoldFolder]) -> list[str]:
    """Name the folds whose weights a file was not made of; none if the file is missing."""
    if path.is_file() and (note := read_note(path)) is not None:
        return [one.path.name for one in trained if note.get(one.path.name) != digest_weights(one.weights)]
    made = path.stat().st_mtime_ns if path.is_file() else math.inf
    return [fold.path.name for fold in trained if fold.weights.stat().st_mtime_ns > made]


def read_recipe(fold: FoldFolder) -> Recipe:
    """Read the recipe of a trained fold.

    Raises:
        UserError: It is missing, damaged, or another version wrote it.
    """
    if not fold.recipe.is_file():
        raise UserError(f"no recipe in {fold.path}", "recipe.json next to the weights")
    with reading(fold.recipe, "recipe", "train", REMEDY):
        recipe = from_json(fold.recipe.read_text(encoding="utf-8"))
    return recipe


def read_environment(fold: FoldFolder) -> dict[str, Any]:
    """Read the versions and the precision of a trained fold; empty if they were not noted.

    Raises:
        UserError: The file is damaged.
    """
    if not fold.environment.is_file():
        return {}
    with reading(fold.environment, "environment", "train", REMEDY):
        environment = json.loads(fold.environment.read_text(encoding="utf-8"))
        if not isinstance(environment, dict):
            raise TypeError(f"found {type(environment).__name__} for names with their values")
    return environment


def common_recipe(trained: Sequence[FoldFolder]) -> Recipe:
    """Return the recipe of all folds of a run.

    Raises:
        UserError: They were trained by several.
    """
    first = read_recipe(trained[0])
    for fold in trained[1:]:
        if changed := differences(first, read_recipe(fold)):
            raise UserError(
                f"{fold.path} was trained by another recipe than {trained[0].path} ({'; '.join(changed)})",
                "one recipe in all folds of a run",
                "move it to a run of its own; `pneumothorax ensemble` averages runs",
            )
    return first


def check_run(run: Path, recipe: Recipe, data: str | None) -> None:
    """Check that a recipe and data are those of all folds that a run has.

    Args:
        run: Folder of the run, which need not exist.
        recipe: Recipe of the fold to train.
        data: Digest of the prepared studies (see `data.cache.digest_studies`).

    Raises:
        UserError: A fold was trained by another recipe or on other data.
    """
    siblings = fold_folders(run)
    for sibling in siblings:
        if sibling.recipe.is_file() and (changed := differences(read_recipe(sibling), recipe)):
            raise UserError(
                f"{sibling.path} was trained by another recipe ({'; '.join(changed)})",
                "the same recipe in all folds of a run",
                "choose another --run, or delete the folder",
            )
    for sibling in siblings:
        if sibling.environment.is_file() and read_environment(sibling).get("data") != data:
            raise UserError(
                f"{sibling.path} was trained on other data (images, masks or patients differ)",
                "the same prepared studies in all folds of a run",
                "prepare those again, choose another --run, or delete the folder",
            )


def claim(fold: FoldFolder, recipe: Recipe, environment: dict[str, str]) -> None:
    """Write recipe and environment into a new fold, or check that an old one was made by the same.

    Raises:
        UserError: The run was made by another recipe or from other data; or the folder by another version of
            this package, of Keras or of its backend, or in another precision: the resume could not be exact.
    """
    check_run(fold.path.parent, recipe, environment.get("data"))
    environment = {"pneumothorax": __version__, **environment}
    if fold.environment.is_file():
        before = read_environment(fold)
        changed = [
            f"{k} {before.get(k)} -> {environment[k]}" for k in environment if before.get(k) != environment[k]
        ]
        if changed and fold.state.is_file():
            raise UserError(
                f"{fold.path} was trained in another environment ({'; '.join(changed)})",
                "the same, for an exact resume",
                "restore it, choose another --run, or delete the folder",
            )
    write_text(fold.recipe, to_json(recipe))
    write_text(fold.environment, json.dumps(environment, indent=2) + "\n")


def save_state(fold: FoldFolder, state: State) -> None:
    """Write the state in one step; the inverse of `load_state`."""
    notes = {
        "epoch": state.epoch,
        "callbacks": state.callbacks,
        "history": state.history,
        "finished": state.finished,
        "leg": state.leg,
    }
    arrays: dict[str, Any] = {f"variable{number}": array for number, array in enumerate(state.variables)}
    with atomic(fold.state) as path, path.open("wb") as file:
        np.savez(file, notes=np.array(json.dumps(notes)), **arrays)


def load_state(fold: FoldFolder, *, with_variables: bool = True) -> State | None:
    """Read the state; None before the end of the first epoch. The inverse of `save_state`.

    Raises:
        UserError: The file is damaged.
    """
    if not fold.state.is_file():
        return None
    with (
        reading(fold.state, "state of training", "train", REMEDY),
        fold.state.open("rb") as file,
        np.load(file) as arrays,
    ):
        notes = json.loads(str(arrays["notes"]))
        count = len(arrays.files) - 1
        variables = [arrays[f"variable{number}"] for number in range(count)] if with_variables else []
        state = State(variables=variables, **notes)
    return state


def monitored(recipe: Recipe) -> str:
    """Return the column of the history that picks the best epochs; higher is better."""
    return "val_mean_dice" if recipe.monitor == "soft_dice" else f"val_{recipe.monitor}"


def useless(fold: FoldFolder) -> bool:
    """Return whether no epoch of a fold, picked by its gain, beat leaving every image empty."""
    if read_recipe(fold).monitor != "gain" or not fold.history.is_file():
        return False
    return bool(read_history(fold)["val_gain"].max() < LEAST_GAIN)


def write_history(fold: FoldFolder, rows: list[dict[str, float]]) -> None:
    """Write history.csv, one row an epoch, in one step."""
    with atomic(fold.history) as path:
        pd.DataFrame(rows).to_csv(path, index=False)


def read_history(fold: FoldFolder) -> pd.DataFrame:
    """Read history.csv; a value that is not a finite number is NaN, except in the epochs.

    Raises:
        UserError: It is missing or damaged.
    """
    if not fold.history.is_file():
        raise UserError(f"no {fold.history}", "the history of a trained fold", "run `pneumothorax train`")
    with reading(fold.history, "history of training", "train", REMEDY):
        rows = pd.read_csv(fold.history, dtype=np.float64).replace([np.inf, -np.inf], np.nan)
        if lacking := [name for name in DRAWN if name not in rows]:
            raise ValueError(f"no column {', '.join(lacking)}")
        if rows["epoch"].isna().any():
            raise ValueError("a row without an epoch")
    return rows
