"""The folder of one trained fold: its files, its recipe and its environment; needs no network library.

``runs/<name>/fold<k>/`` holds ``recipe.json``, ``environment.json`` (versions, precision),
``best.weights.h5``, ``history.csv`` (see `training.history`), ``state.npz`` (see `training.state`),
``sessions.json`` (when, where and from which commit it was trained), ``encoder_weights.json`` (the origin of
the encoder's weights, if any), and after training the probabilities in ``out_of_fold/`` and ``test/`` and the
scores in ``scores.json``.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe, from_json
from pneumothorax.workspace import reading

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


def fold_folders(run: Path) -> list[FoldFolder]:
    """List the folders ``fold<k>`` of a run, trained or not, without copies such as fold0.bak."""
    return [FoldFolder(path) for path in sorted(run.glob("fold*")) if re.fullmatch("fold[0-9]+", path.name)]


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
