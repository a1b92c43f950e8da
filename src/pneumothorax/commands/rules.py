"""What commands share that turn probabilities into masks: the run's rule, and the flags that change it."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pneumothorax.errors import warn
from pneumothorax.inference.decision import Decision, read_decision, without_evidence
from pneumothorax.training.run import FoldFolder, is_newer

RULE = ("threshold", "min_area", "top", "min_component", "gate")  # flags, and fields of a decision


def chosen_decision(run: Path, options: Namespace) -> Decision:
    """Return the run's tuned decision with the flags that were given."""
    given = {name: getattr(options, name) for name in RULE if getattr(options, name) is not None}
    path = run / "decision.json"
    if not path.is_file() and not given.keys() >= {"threshold", "min_area"}:
        warn(f"no {path}; the rule is not tuned: run `pneumothorax tune --run {run.name}` for a better one")
    decision = read_decision(path)
    changed = replace(decision, **given)
    # A rule chosen by hand has earned no score.
    return decision if changed == decision else without_evidence(changed)


def warn_if_older(path: Path, trained: Sequence[FoldFolder], command: str) -> None:
    """Warn of a file that a command made before some folds were trained; none is no fault."""
    newer = [fold.path.name for fold in trained if path.is_file() and not is_newer(path, fold)]
    if newer:
        warn(f"{path} is older than {', '.join(newer)}; run `pneumothorax {command}` again")
