"""The summary of the report: scores, their references, and the origin of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pneumothorax.data.folds import patients_of
from pneumothorax.inference.ensemble import read_ensemble
from pneumothorax.inference.evaluate import PAPER
from pneumothorax.legs import legs_of
from pneumothorax.model.encoders.weights import read_note
from pneumothorax.recipes import describe
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.page import number
from pneumothorax.training.fold_folder import FoldFolder, read_environment
from pneumothorax.training.history import read_history
from pneumothorax.training.sessions import Session, read_sessions

Table = tuple[list[str], list[tuple[Any, ...]], str]
Facts = list[tuple[str, str]]


def score_table(runs: Sequence[Evaluation]) -> Table:
    """Return the competition's metric of each run, next to its references."""
    rows = []
    for run in runs:
        score, low, high = run.metric()
        found = run.area > 0
        rows.append(
            (
                run.name,
                f"{score:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{float((~run.positive).mean()):.4f}",
                f"{run.ceiling():.4f}",
                number(_mean(run.dice[run.positive]), 4),
                number(_mean(run.dice[~run.positive]), 4),
                number(_mean(found[run.positive]), 3),
                number(_mean(~found[~run.positive]), 3),
            )
        )
    head = ["run", "metric", "95 % interval", "all-empty", "perfect classifier"]
    head += ["Dice of positives", "of negatives", "sensitivity", "specificity"]
    return head, rows, f"Competition metric, {len(runs[0].studies):,} images, {runs[0].part}"


def explain_scores(runs: Sequence[Evaluation]) -> str:
    """Describe how the metric of the runs was computed."""
    nested = [run.name for run in runs if run.is_nested]
    how = "The rule of each run was applied to all of them."
    if nested:
        how = (
            f"The metric of {', '.join(nested)} is nested: each image was scored by a rule that it had no "
            "part in choosing. The Dice of positives and negatives, sensitivity and specificity are "
            "those of the final rule, which the cases below are shown by."
        )
    return (
        f"{how} Intervals: 95 %, by drawing patients with replacement. A perfect classifier would leave "
        "every negative empty."
    )


def table_1(runs: Sequence[Evaluation]) -> Table:
    """Return the paper's Table 1 next to that of each run."""
    rows: list[tuple[Any, ...]] = [
        ("the paper (2019)", _percent(PAPER["total"]), _percent(PAPER["mean"]), "–", "–", "377")
    ]
    for run in runs:
        table = run.table_1
        values = (table.soft_total, table.soft_mean, table.hard_total, table.hard_mean)
        rows.append((run.name, *map(_percent, values), f"{int(run.positive.sum()):,}"))
    head = ["", "total, soft", "mean, soft", "total, hard", "mean, hard", "positives"]
    return head, rows, "Dice of images with a pneumothorax: the paper's Table 1"


TABLE_1_EXPLAINED = (
    "Soft: of probabilities, at the network's size, as in the paper. Hard: of masks cut at 0.5, at "
    "1024x1024. Total: all images as one; mean: over images. Only images with a pneumothorax count, so "
    "neither punishes a false alarm."
)


def outcome_table(runs: Sequence[Evaluation]) -> Table:
    """Count the outcomes of each run's images by its rule."""
    rows = []
    for run in runs:
        found, hit = run.area > 0, run.overlap > 0
        counts = (
            np.count_nonzero(run.positive & ~found),
            np.count_nonzero(run.positive & found & ~hit),
            np.count_nonzero(run.positive & hit),
            np.count_nonzero(~run.positive & found),
            np.count_nonzero(~run.positive & ~found),
        )
        rows.append((run.name, *(f"{count:,}" for count in counts)))
    head = ["run", "missed", "marked elsewhere", "found", "false alarm", "rightly empty"]
    return head, rows, "Outcomes of the images, by each run's rule"


def facts_of(run: Evaluation) -> Facts:
    """Return how a run was made and evaluated, as names and texts."""
    studies = run.studies
    known = studies["patient"].fillna("") != ""
    rows = [
        ("Recipe", _recipe_of(run)),
        (
            "Evaluated on",
            f"{len(studies):,} images, {int(run.positive.sum()):,} with a pneumothorax, {run.part}",
        ),
        (
            "Patients",
            f"{len(set(patients_of(studies[known]))):,}" + ("" if known.all() else ", some unknown"),
        ),
        ("Rule", f"{run.decision.rule}" + ("" if run.is_tuned else " (not tuned)")),
    ]
    if run.recipe is None:
        return rows
    grouped = run.recipe.split == "folds"
    split = "grouped by patient" if grouped else "the paper's split, by image: patients lie on both sides"
    planned = run.recipe.fold_count if grouped else 1
    sizes = dict.fromkeys(leg.size for leg in legs_of(run.recipe))
    rows += [
        ("Folds", f"{len(run.folds)} of {planned}, {split}"),
        ("Seed", str(run.recipe.seed)),
        ("Size", f"{', then '.join(map(str, sizes))} pixels"),
        ("Network", f"{run.recipe.architecture}, {run.recipe.encoder}, weights {run.recipe.encoder_weights}"),
        ("Loss", run.recipe.loss),
    ]
    if begun := sorted({_weights_of(note) for fold in run.folds if (note := read_note(fold.path))}):
        rows.append(("Encoder weights", "; ".join(begun)))
    return rows + _training_facts(run.folds)


def _training_facts(folds: Sequence[FoldFolder]) -> Facts:
    """Return the facts of the folds' training: images, duration, versions."""
    sessions = {fold.path.name: read_sessions(fold) for fold in folds}
    every = [one for of_fold in sessions.values() for one in of_fold]
    histories = [read_history(fold) for fold in folds]
    seconds = [float(rows["seconds"].sum()) for rows in histories if "seconds" in rows]
    versions = sorted({text for fold in folds for text in _versions(fold)})
    return [
        ("Trained on", _counts(sessions)),
        ("Epochs", ", ".join(str(len(rows)) for rows in histories)),
        ("Training time", _duration(sum(seconds)) + (f" for {len(folds)} folds" if len(folds) > 1 else "")),
        ("Hardware", "; ".join(sorted({one.machine for one in every})) or "not recorded"),
        ("Commit", ", ".join(sorted({one.commit for one in every if one.commit})) or "not recorded"),
        ("Trained", _dates(every)),
        ("Versions", ", ".join(versions) or "not recorded"),
    ]


def _weights_of(note: dict[str, Any]) -> str:
    """Name an encoder's weights file, from the note of `model.encoders.weights.note_weights`."""
    digest = f", sha256 {str(note['sha256'])[:12]}" if "sha256" in note else ""
    arrays = f", {note['arrays']} arrays" if "arrays" in note else ""
    return f"{note.get('file')} ({note.get('source')}{arrays}{digest})"


def _recipe_of(run: Evaluation) -> str:
    if run.recipe is not None:
        return describe(run.recipe)
    members = read_ensemble(run.run) or []
    return "mean of " + ", ".join(f"{one.weight:g} x {one.run} ({one.recipe})" for one in members)


def _counts(sessions: dict[str, list[Session]]) -> str:
    first = [of_fold[0] for of_fold in sessions.values() if of_fold]
    if not first:
        return "not recorded"
    return "; ".join(
        f"{one.images:,} images, {one.positives:,} positive"
        + (f", {one.patients:,} patients" if one.patients else "")
        for one in dict.fromkeys(first)
    )


def _dates(sessions: Sequence[Session]) -> str:
    days = sorted(one.began[:10] for one in sessions)
    return "not recorded" if not days else " to ".join(dict.fromkeys((days[0], days[-1])))


def _versions(fold: FoldFolder) -> list[str]:
    return [f"{name} {value}" for name, value in read_environment(fold).items() if name != "data"]


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
