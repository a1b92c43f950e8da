"""The decision rule of commands that turn probabilities into masks: the run's, changed by flags."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pneumothorax.errors import UserError, warn
from pneumothorax.inference.decision import Decision, read_decision
from pneumothorax.inference.rule import Rule
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import useless
from pneumothorax.training.run import newer_folds

RULE = tuple(part.name for part in fields(Rule))  # also the names of the flags


def chosen_decision(run: Path, options: Namespace) -> Decision:
    """Return the run's tuned decision with the flags that were given.

    Raises:
        UserError: A flag is out of range, or the top threshold and the threshold do not go together.
    """
    path = run / "decision.json"
    if not path.is_file() and not _given(options).keys() >= {"threshold", "min_area"}:
        warn(f"no {path}; the rule is not tuned: run `pneumothorax tune {run.name}` for a better one")
    return change_decision(read_decision(path), path if path.is_file() else None, options)


def change_decision(decision: Decision, path: Path | None, options: Namespace) -> Decision:
    """Return a decision with the flags that were given.

    Args:
        decision: The decision.
        path: The file that it is from; None for the default.
        options: The flags.

    Raises:
        UserError: A flag is out of range, or the top threshold and the threshold do not go together.
    """
    given = _given(options)
    _check_top(path, decision.rule, given)
    changed = replace(decision.rule, **given)
    # A rule chosen by hand has earned no score.
    return decision if changed == decision.rule else Decision(changed)


def _given(options: Namespace) -> dict[str, Any]:
    """Return the parts of the rule that flags set."""
    values = {name: getattr(options, name, None) for name in RULE}  # `app` has no such flags
    return {name: value for name, value in values.items() if value is not None}


def _check_top(path: Path | None, rule: Rule, given: dict[str, float]) -> None:
    """Refuse a top threshold below the threshold, where a flag meets the tuned rule."""
    values = {name: given.get(name, getattr(rule, name)) for name in ("threshold", "top_threshold")}
    if values["top_threshold"] is None or not 0 <= values["top_threshold"] < values["threshold"] <= 1:
        return
    threshold, top = (
        f"--{name.replace('_', '-')} {value:g}"
        if name in given
        else f"the {name.replace('_', ' ')} {value:g} of {path}"
        if path is not None
        else f"the default {name} {value:g}"
        for name, value in values.items()
    )
    raise UserError(
        f"{top}, above which pixels count for the minimum area, is below {threshold}, which masks are cut at",
        "a top threshold of at least the threshold",
        f"give --top-threshold {values['threshold']:g} too"
        if "top_threshold" not in given
        else "give another --top-threshold or --threshold",
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
        run = trained[0].path.parent.name
        warn(f"{path} is older than {', '.join(newer)}; run `pneumothorax {command} {run}` again")
