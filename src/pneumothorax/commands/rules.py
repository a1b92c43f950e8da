"""What commands share that turn probabilities into masks: the run's rule, and the flags that change it."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pneumothorax.errors import UserError, warn
from pneumothorax.inference.decision import Decision, read_decision, without_evidence
from pneumothorax.training.run import FoldFolder, newer_folds, useless

RULE = ("threshold", "min_area", "top", "min_component", "gate")  # flags, and fields of a decision


def chosen_decision(run: Path, options: Namespace) -> Decision:
    """Return the run's tuned decision with the flags that were given.

    Raises:
        UserError: A flag is out of range, or the top and the threshold do not go together.
    """
    given = {name: getattr(options, name) for name in RULE if getattr(options, name) is not None}
    path = run / "decision.json"
    if not path.is_file() and not given.keys() >= {"threshold", "min_area"}:
        warn(f"no {path}; the rule is not tuned: run `pneumothorax tune {run.name}` for a better one")
    decision = read_decision(path)
    _check_top(path, decision, given)
    changed = replace(decision, **given)
    # A rule chosen by hand has earned no score.
    return decision if changed == decision else without_evidence(changed)


def _check_top(path: Path, decision: Decision, given: dict[str, float]) -> None:
    """Make sure that no top lies below the threshold, where a flag meets what was tuned."""
    values = {name: given.get(name, getattr(decision, name)) for name in ("threshold", "top")}
    if values["top"] is None or not 0 <= values["top"] < values["threshold"] <= 1:
        return
    threshold, top = (
        f"--{name} {value:g}"
        if name in given
        else f"the {name} {value:g} of {path}"
        if path.is_file()
        else f"the default {name} {value:g}"
        for name, value in values.items()
    )
    raise UserError(
        f"{top}, the probability that the minimum area counts, is below {threshold}, which masks are cut at",
        "a top of at least the threshold",
        f"give --top {values['threshold']:g} too"
        if "top" not in given
        else "give another --top or --threshold",
    )


def warn_if_useless(trained: Sequence[FoldFolder]) -> None:
    """Warn of folds whose best epoch is no better than leaving every image empty."""
    if folds := [str(fold.path) for fold in trained if useless(fold)]:
        warn(
            f"no epoch of {', '.join(folds)} beat leaving every image empty: the network has not learnt to "
            "find a pneumothorax; train longer, from ImageNet weights, or with another --learning-rate"
        )


def warn_if_older(path: Path, trained: Sequence[FoldFolder], command: str) -> None:
    """Warn of a file that a command made before some folds were trained; none is no fault."""
    if newer := newer_folds(path, trained):
        warn(f"{path} is older than {', '.join(newer)}; run `pneumothorax {command}` again")
