"""The folds of one run: found, checked to be of one recipe and the same data, and compared.

A run is ``runs/<name>/`` with a folder for each fold (see `training.fold_folder`), and ``decision.json`` from
`tune`. Needs no network library.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from pneumothorax import __version__
from pneumothorax.errors import UserError, nearest
from pneumothorax.recipe import Recipe, differences, to_json
from pneumothorax.training.fold_folder import FoldFolder, fold_folders, read_environment, read_recipe
from pneumothorax.training.provenance import digest_weights, read_note
from pneumothorax.training.state import load_state
from pneumothorax.workspace import write_text


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
