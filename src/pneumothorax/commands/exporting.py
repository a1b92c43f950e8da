"""The command that takes a run's networks out, as one file for other programs."""

from argparse import Namespace
from dataclasses import replace

from pneumothorax.commands.rules import warn_if_older, warn_if_useless
from pneumothorax.commands.run_folders import run_folder
from pneumothorax.errors import UserError, warn
from pneumothorax.inference.decision import read_decision
from pneumothorax.inference.plan import Trained, make_plan


def export(options: Namespace) -> int:
    """Write a run's networks, its rule and a card as one file, and compare it with Keras."""
    from pneumothorax.exporting.export import export_run

    plan = make_plan(run_folder(options))
    if not isinstance(plan, Trained):
        raise UserError(
            f"{plan.run} is an ensemble of other runs",
            "a run of its own, whose folds have one recipe",
            "export each of its members",
        )
    if options.fold is not None:
        plan = _choose(plan, options.fold)
    path = plan.run / "decision.json"
    if not path.is_file():
        warn(f"no {path}; the file carries a rule that is not tuned: run `pneumothorax tune {plan.run.name}`")
    warn_if_older(path, plan.folds, "tune")
    warn_if_useless(plan.folds)
    written = export_run(plan, read_decision(path), options.format, options.out)
    folds = ", ".join(fold.path.name for fold in plan.folds)
    print(
        f"{options.out}: {written.size / 1e6:.1f} MB, {folds}"
        f"{' and the mirror images' if plan.recipe.flip_tta else ''}; differs from Keras by "
        f"{written.difference:.1g} at most ({written.images} test images); research, no diagnosis"
    )
    return 0


def _choose(plan: Trained, numbers: list[int]) -> Trained:
    """Keep some folds of a run.

    Raises:
        UserError: One of them is not trained.
    """
    found = {fold.path.name: fold for fold in plan.folds}
    names = [f"fold{number}" for number in numbers]
    if lacking := [name for name in names if name not in found]:
        raise UserError(f"no trained {', '.join(lacking)} in {plan.run}", f"some of {', '.join(found)}")
    return replace(plan, folds=[found[name] for name in names])
