"""Which networks look at an image, and how: the folds of a run, or the weighted members of an ensemble.

Reads run folders; loads no network and needs no network library. `inference.networks` carries a plan out.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.inference.ensemble import read_ensemble
from pneumothorax.legs import last_leg
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import common_recipe, find_folds

Look = tuple[int, str]  # size in pixels and interpolation: how a network wants an image shrunk


@dataclass(frozen=True)
class Trained:
    """A run whose folds count alike.

    Attributes:
        run: Its folder.
        folds: Its trained folds, one or more.
        recipe: Of the last leg that all of them were trained by.
    """

    run: Path
    folds: list[FoldFolder]
    recipe: Recipe

    @property
    def look(self) -> Look:
        """How its networks want an image."""
        return self.recipe.size, self.recipe.interpolation


@dataclass(frozen=True)
class Ensemble:
    """Runs, or ensembles in their turn, that count by their weights.

    Attributes:
        run: Its folder.
        members: With their weights, finite and above 0; one or more.
    """

    run: Path
    members: list[tuple[float, "Plan"]]


Plan = Trained | Ensemble


def make_plan(run: Path) -> Plan:
    """Find the networks of a run or an ensemble.

    Raises:
        UserError: There is no run, or one that has not finished, was trained by several recipes, or is a
            member of itself.
    """
    return _plan(run, ())


def trained_of(plan: Plan) -> list[Trained]:
    """List the trained runs of a plan, each as often as it counts."""
    if isinstance(plan, Trained):
        return [plan]
    return [one for _, member in plan.members for one in trained_of(member)]


def looks_of(plan: Plan) -> list[Look]:
    """List how the networks of a plan want an image, each way once."""
    return sorted({one.look for one in trained_of(plan)})


def size_of(plan: Plan) -> int:
    """Return the side of a plan's maps in pixels: the largest of its networks'."""
    return max(one.recipe.size for one in trained_of(plan))


def silent_runs(plan: Plan) -> list[str]:
    """Name the runs that have no classification head; with some, the whole plan has none."""
    return list(dict.fromkeys(one.run.name for one in trained_of(plan) if not one.recipe.classification_head))


def digest_plan(plan: Plan) -> str:
    """Digest the networks and weights of a plan's members; weights count by their content."""
    if isinstance(plan, Trained):
        said = repr(digest_folds(fold.weights for fold in plan.folds))
        said += to_json(plan.recipe)
    else:
        said = repr([(weight, digest_plan(member)) for weight, member in plan.members])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _plan(run: Path, above: tuple[Path, ...]) -> Plan:
    """Make the plan of a run that is a member of others."""
    if run in above:
        raise UserError(
            f"ensemble {run} is a member of itself", "other runs", "run `pneumothorax ensemble` again"
        )
    members = read_ensemble(run)
    if members is None:
        folds = find_folds(run)
        return Trained(run, folds, last_leg(common_recipe(folds)))
    plans = [(one.weight, _plan(run.parent / one.run, (*above, run))) for one in members]
    return Ensemble(run, plans)
