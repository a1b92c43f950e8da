"""Write the report of one or more runs: one HTML file with scores, figures and every case."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from pneumothorax.inference.rule import EXPLAINED
from pneumothorax.report import (
    cases,
    charts,
    comparison,
    decision_charts,
    explanations,
    pictures,
    scale,
    summary,
)
from pneumothorax.report.classification_charts import draw_precision, draw_reliability, draw_roc
from pneumothorax.report.curves import draw_curves, read_course
from pneumothorax.report.evaluation import Evaluation, evaluate_run, open_run
from pneumothorax.report.page import WEB, write_page
from pneumothorax.report.page_text import counted
from pneumothorax.report.svg import to_svg
from pneumothorax.workspace import Workspace


def write_report(
    workspace: Workspace,
    runs: Sequence[Path],
    path: Path,
    *,
    most: int = pictures.MOST_CASES,
    shared_only: bool = False,
    identify: bool = False,
) -> list[str]:
    """Write the report of one run, or of several side by side.

    Args:
        workspace: Workspace with the prepared images, used for radiographs that were moved.
        runs: Run folders; the others are compared with the first.
        path: The HTML file.
        most: Upper limit of pictured cases; all are counted.
        shared_only: Compare on the images common to all runs.
        identify: Show the patients of the cases.

    Returns:
        Notes on content that is not shown, and why; they stand on the page too.

    Raises:
        UserError: A run is missing or incomplete, or the runs have different images.
    """
    opened = {run: open_run(run) for run in runs}
    parts = {run: of_run for run, (_, of_run) in opened.items()}
    if len(runs) > 1:
        parts = comparison.common_parts(parts, shared_only=shared_only)
    evaluations = [evaluate_run(run, opened[run][0], parts[run]) for run in runs]
    orders = comparison.align(evaluations)
    places = [cases.places_of(run, order) for run, order in zip(evaluations, orders, strict=True)]
    chosen = cases.choose_cases(evaluations[0], places, most)
    explained = explanations.explain_cases(workspace, evaluations, orders, chosen)
    sources = cases.find_sources(workspace, evaluations[0], places, chosen)
    packed = pictures.pack(sources, pictures.LIMIT_BYTES - explained.bytes)
    notes = [*_notes(evaluations, chosen, packed, most), *explained.notes]
    pictured = np.zeros(len(evaluations[0].studies), bool)
    pictured[chosen] = True
    context = {
        "title": " and ".join(f"Run {run.name}" for run in evaluations),
        "runs": [run.name for run in evaluations],
        "notes": notes,
        "glance": _glance(evaluations),
        "curves": [_curves(run) for run in evaluations if run.folds],
        "comparison": _comparison(evaluations, orders, pictured) if len(runs) > 1 else None,
        **_distributions(evaluations, pictured),
        "decisions": [_decision(run, number) for number, run in enumerate(evaluations)],
        "cases": {
            "explained": _explain_cases(evaluations, packed, len(chosen)),
            "choices": cases.list_choices(evaluations[0]),
            "controls": cases.rule_controls(),
            "rule_explained": EXPLAINED,
            "data": cases.describe_cases(evaluations, orders, pictured, identify=identify)
            | {"grad_cam": explained.sizes},
            "has_grad_cam": any(explained.sizes),
            "pictures": partial(zip, chosen.tolist(), packed.cases, explained.cases, strict=True),
            "alike": explained.images,
        },
    }
    write_page(path, WEB / "run.html", context)
    return notes


def _notes(runs: Sequence[Evaluation], chosen: np.ndarray, packed: pictures.Packed, most: int) -> list[str]:
    """List the parts that the report does not show, and why."""
    number = len(runs[0].studies)
    notes = []
    if len(chosen) < number:
        why = (
            f"as many as --cases {most} allows"
            if len(chosen) == most
            else "so that the page stays below 30 MB"
        )
        notes.append(
            f"{len(chosen):,} of {number:,} cases are pictured, {why}: those that lose most, and as many "
            f"drawn from the others. Every figure and score is of all {number:,}."
        )
    if packed.substituted:
        notes.append(
            f"The radiographs of {counted(packed.substituted, 'case')} are not where they were: shown as "
            "prepared, at the network's size."
        )
    if packed.missing:
        notes.append(
            f"The radiographs of {counted(packed.missing, 'case')} are not to be found: shown black."
        )
    if not runs[0].positive.any():
        notes.append("No image shows a pneumothorax: there is no Dice to draw.")
    for run in runs:
        if not run.is_tuned:
            notes.append(f"The rule of {run.name} is not tuned: {run.decision.rule}.")
        if run.newer:
            notes.append(
                f"The rule of {run.name} is older than {', '.join(run.newer)}; run `pneumothorax tune "
                f"{run.name}` again. Its metric is not the nested one."
            )
    return notes


def _glance(runs: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "scores": summary.score_table(runs),
        "explained": summary.explain_scores(runs),
        "scale": to_svg(scale.draw_scale(runs), "scale", "The metric of each run next to its references"),
        "trust": scale.explain_trust(runs),
        "scale_caption": scale.CAPTION,
        "table_1": summary.table_1(runs),
        "table_1_explained": summary.TABLE_1_EXPLAINED,
        "facts": [(f"Run {run.name}", summary.facts_of(run)) for run in runs],
    }


def _curves(run: Evaluation) -> tuple[Markup, str]:
    courses = {fold.path.name: read_course(fold) for fold in run.folds}
    label = f"Loss, Dice and learning rate of run {run.name} by epoch"
    return to_svg(
        draw_curves(courses), f"curves-{run.name}", label
    ), f"Run {run.name}: dots mark the best epochs."


def _comparison(
    runs: Sequence[Evaluation], orders: Sequence[np.ndarray], pictured: np.ndarray
) -> dict[str, Any]:
    gained = comparison.gains(runs, orders)
    figures, lists = [], []
    for other, each in enumerate(gained, 1):
        figure, links = comparison.draw_pairs(runs, other, orders[other], pictured)
        label = f"Dice of each pictured case by {runs[other].name} against {runs[0].name}"
        caption = f"{label}. Above the line it gained; a point leads to its case."
        figures.append((to_svg(figure, f"pairs-{other}", label, links), caption))
        lists += comparison.list_cases(runs, other, each, pictured)
    return {"scores": comparison.gain_table(runs, gained), "figures": figures, "lists": lists}


def _distributions(runs: Sequence[Evaluation], pictured: np.ndarray) -> dict[str, Any]:
    """Return the figures and tables of the section."""
    main, positive = runs[0], runs[0].positive
    wanted: list[tuple[Callable[..., charts.Drawn], tuple[Any, ...], str]] = []
    if positive.any():
        wanted += [
            (
                charts.draw_histogram,
                (runs,),
                "Dice of each image with a pneumothorax; a bar leads to its cases.",
            ),
            (
                charts.draw_dice_by_area,
                (main, pictured),
                f"Run {main.name}: Dice by the lesion's area; a point leads to its case.",
            ),
            (
                charts.draw_area,
                (main, pictured),
                f"Run {main.name}: predicted against true area; a point leads to its case.",
            ),
        ]
        if not positive.all():
            wanted += [
                (draw_roc, (runs,), "Images with and without a pneumothorax; dot: the run's rule."),
                (draw_precision, (runs,), "The same as precision and recall; dot: the run's rule."),
            ]
        wanted.append(
            (
                draw_reliability,
                (runs,),
                "Reliability of the probabilities: those on the diagonal are calibrated.",
            )
        )
        wanted.append(
            (
                charts.draw_groups,
                (main,),
                f"Run {main.name}: mean Dice of positives by group, with 95 % intervals; counts below. A "
                "bar leads to its cases.",
            )
        )
    drawn = []
    for draw, arguments, caption in wanted:
        figure, links = draw(*arguments)
        broad = draw is charts.draw_groups
        drawn.append((to_svg(figure, draw.__name__, caption, links), caption, broad))
    return {"distributions": drawn, "groups": [summary.outcome_table(runs)]}


def _decision(run: Evaluation, number: int) -> dict[str, Any]:
    label = f"Metric of run {run.name} as a function of each part of its rule"
    caption = f"{label}, the others unchanged. Small components are not left out here."
    if run.is_nested:
        caption += " These are the images that the rule was chosen on."
    area = "The metric by top threshold and minimum area, the threshold unchanged; dot: the rule."
    return {
        "name": f"Run {run.name}",
        "words": f"{'Tuned' if run.is_tuned else 'Not tuned'}: {run.decision.rule}.",
        "figures": [
            (to_svg(decision_charts.draw_sweeps(run), f"sweeps-{number}", label), caption, True),
            (to_svg(decision_charts.draw_map(run), f"map-{number}", area), area, False),
        ],
        "emptied": (
            ["images", "positives", "negatives", "all"],
            decision_charts.emptied(run),
            "Images that the rule leaves empty",
        ),
    }


def _explain_cases(runs: Sequence[Evaluation], packed: pictures.Packed, number: int) -> str:
    rules = "; ".join(f"{run.name}: {run.decision.rule}" for run in runs)
    return (
        f"{counted(number, 'case')}, each run by its own rule ({rules}). Pictures are up to "
        f"{packed.side} pixels, compressed; probabilities are exact, and masks are decided in this page at "
        "1024x1024 as the package does. A patient's left is on the right of the picture."
    )
