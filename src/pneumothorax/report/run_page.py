"""One or more runs -> the report: one HTML file with scores, figures and every case to look at."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from pneumothorax.inference.predictions import Predictions
from pneumothorax.report import charts, comparison, decision_charts, pictures, summary
from pneumothorax.report.curves import draw_curves, read_course
from pneumothorax.report.evaluation import Evaluation, evaluate_run, open_run
from pneumothorax.report.figures import counted
from pneumothorax.report.page import write_page
from pneumothorax.report.svg import to_svg
from pneumothorax.workspace import Workspace

Place = tuple[Predictions, int]  # where a probability lies: part and row

SEED = 0  # of the cases that are drawn where there are too many


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
        workspace: Where prepared images lie, should the radiographs have been moved.
        runs: Their folders; the first is the one that others are compared with.
        path: The HTML file.
        most: Of how many cases to show the picture; all are counted.
        shared_only: Compare on the images that all runs have.
        identify: Show whose the cases are.

    Returns:
        What the reader should know: what is not shown, and why. It stands on the page too.

    Raises:
        UserError: A run is missing or incomplete, or they are of different images.
    """
    opened = {run: open_run(run) for run in runs}
    parts = {run: of_run for run, (_, of_run) in opened.items()}
    if len(runs) > 1:
        parts = comparison.common_parts(parts, shared_only=shared_only)
    evaluations = [evaluate_run(run, opened[run][0], parts[run]) for run in runs]
    orders = comparison.align(evaluations)
    places = [_places_of(run, order) for run, order in zip(evaluations, orders, strict=True)]
    chosen = choose_cases(evaluations[0], places, most)
    packed = pictures.pack(_sources(workspace, evaluations[0], places, chosen))
    notes = _notes(evaluations, chosen, packed)
    pictured = np.zeros(len(evaluations[0].studies), bool)
    pictured[chosen] = True
    context = {
        "title": " and ".join(f"Run {run.name}" for run in evaluations),
        "runs": [run.name for run in evaluations],
        "notes": notes,
        "glance": _glance(evaluations),
        "curves": [_curves(run) for run in evaluations if run.folds],
        "comparison": _comparison(evaluations, orders, pictured) if len(runs) > 1 else None,
        **_distributions(evaluations),
        "decisions": [_decision(run, number) for number, run in enumerate(evaluations)],
        "cases": {
            "explained": _explain_cases(evaluations[0], packed, len(chosen)),
            "choices": _choices(evaluations[0]),
            "data": _case_data(evaluations, orders, pictured, identify=identify),
            "pictures": partial(zip, chosen.tolist(), packed.cases, strict=True),
        },
    }
    write_page(path, "run.html", context)
    return notes


def choose_cases(run: Evaluation, places: Sequence[list[Place]], most: int) -> np.ndarray:
    """Choose the cases that are pictured, in the order of the images.

    All where they fit. Of too many, half of the places go to those that lose most and half are drawn from the
    others, so that the report shows both where the points are lost and what is usual.
    """
    number = len(run.studies)
    step = max(1, number // pictures.PROBES)
    probes = [[_map_at(of_run[row]) for of_run in places] for row in range(0, number, step)]
    room = pictures.limit_cases(probes, min(most, number))
    if room >= number:
        return np.arange(number)
    order = np.lexsort((-run.truth, run.dice))
    worst, others = order[: room // 2], order[room // 2 :]
    drawn = np.random.default_rng(SEED).choice(others, room - len(worst), replace=False)
    return np.sort(np.concatenate([worst, drawn]))


def _places_of(run: Evaluation, order: np.ndarray) -> list[Place]:
    """Return where each image's probability lies: its part and row."""
    places = [(part, row) for part in run.parts for row in range(len(part.studies))]
    return [places[at] for at in order]


def _map_at(place: Place) -> np.ndarray:
    part, row = place
    return np.asarray(part.probabilities[row])


def _sources(
    workspace: Workspace, run: Evaluation, places: Sequence[list[Place]], chosen: np.ndarray
) -> list[pictures.Source]:
    """Say where the content of each chosen case comes from."""
    table = run.studies.iloc[chosen]
    gone = [
        name for name, path in zip(table["ImageId"], table["path"], strict=True) if not Path(path).is_file()
    ]
    prepared = pictures.find_prepared(_caches(workspace, run), gone) if gone else {}
    return [
        pictures.Source(
            path=Path(study["path"]),
            fallback=prepared.get(study["ImageId"]),
            code=study["EncodedPixels"],
            shape=(study["height"], study["width"]),
            maps=[_map_at(of_run[row]) for of_run in places],
        )
        for row, study in zip(chosen, table.to_dict("records"), strict=True)
    ]


def _caches(workspace: Workspace, run: Evaluation) -> Iterator[Path]:
    """Yield the caches that may hold the run's images: its own, then those of larger sizes first."""
    if run.recipe is not None:
        yield workspace.cache(run.recipe.size, run.recipe.interpolation, "train")
    folders = (workspace.data / "cache").glob("*-*/train")
    yield from sorted(folders, key=lambda path: -int(path.parent.name.partition("-")[0] or 0))


def _notes(runs: Sequence[Evaluation], chosen: np.ndarray, packed: pictures.Packed) -> list[str]:
    """Say what the report does not show, and why."""
    number = len(runs[0].studies)
    notes = []
    if len(chosen) < number:
        notes.append(
            f"{len(chosen):,} of {number:,} cases are pictured, so that the page stays below 30 MB: those "
            f"that lose most, and as many drawn from the others. Every figure and score is of all {number:,}."
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
    if not runs[0].ill.any():
        notes.append("No image shows a pneumothorax: there is no Dice to draw.")
    for run in runs:
        if not run.is_tuned:
            notes.append(f"The rule of {run.name} is not tuned: {run.decision}.")
    return notes


def _glance(runs: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "scores": summary.score_table(runs),
        "explained": summary.explain_scores(runs),
        "scale": to_svg(
            summary.draw_scale(runs), "scale", "The metric of each run beside what it is measured by"
        ),
        "scale_caption": summary.SCALE_CAPTION,
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


def _distributions(runs: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the figures of the section, and tables of what they show."""
    main, ill = runs[0], runs[0].ill
    wanted: list[tuple[Callable[..., charts.Drawn], tuple[Any, ...], str]] = []
    if ill.any():
        wanted += [
            (
                charts.draw_histogram,
                (runs,),
                "Dice of each image with a pneumothorax; a bar leads to its cases.",
            ),
            (
                charts.draw_dice_by_area,
                (main,),
                f"Run {main.name}: Dice by the lesion's area; a point leads to its case.",
            ),
            (
                charts.draw_area,
                (main,),
                f"Run {main.name}: predicted against true area; a point leads to its case.",
            ),
        ]
        if not ill.all():
            wanted += [
                (charts.draw_roc, (runs,), "Which images show a pneumothorax at all; dot: the run's rule."),
                (charts.draw_precision, (runs,), "The same as precision and recall; dot: the run's rule."),
            ]
        wanted.append(
            (
                charts.draw_reliability,
                (runs,),
                "How often a probability is right: on the line it means what it says.",
            )
        )
        wanted.append(
            (
                charts.draw_groups,
                (main,),
                f"Run {main.name}: mean Dice of positives by group, with 95 % intervals; below, how many. A "
                "bar leads to its cases.",
            )
        )
    drawn = []
    for draw, arguments, caption in wanted:
        figure, links = draw(*arguments)
        broad = draw is charts.draw_groups
        drawn.append((to_svg(figure, draw.__name__, caption, links), caption, broad))
    return {"distributions": drawn, "groups": [_outcomes(runs)]}


def _outcomes(runs: Sequence[Evaluation]) -> summary.Table:
    rows = []
    for run in runs:
        found, hit = run.area > 0, run.overlap > 0
        counts = (
            np.count_nonzero(run.ill & ~found),
            np.count_nonzero(run.ill & found & ~hit),
            np.count_nonzero(run.ill & hit),
            np.count_nonzero(~run.ill & found),
            np.count_nonzero(~run.ill & ~found),
        )
        rows.append((run.name, *(f"{count:,}" for count in counts)))
    head = ["run", "missed", "marked elsewhere", "found", "false alarm", "rightly empty"]
    return head, rows, "How the images end, by each run's rule"


def _decision(run: Evaluation, number: int) -> dict[str, Any]:
    label = f"How the metric of run {run.name} moves with each part of its rule"
    caption = f"{label}, the others as they are. Small pieces are not left out here."
    if run.is_nested:
        caption += " These are the images that the rule was chosen on."
    area = "The metric by top and least area, the threshold as it is; dot: the rule."
    return {
        "name": f"Run {run.name}",
        "words": f"{'Tuned' if run.is_tuned else 'Not tuned'}: {run.decision}.",
        "figures": [
            (to_svg(decision_charts.draw_sweeps(run), f"sweeps-{number}", label), caption, True),
            (to_svg(decision_charts.draw_map(run), f"map-{number}", area), area, False),
        ],
        "emptied": (
            ["what", "positives", "healthy", "all"],
            decision_charts.emptied(run),
            "What the rule leaves empty",
        ),
    }


def _explain_cases(run: Evaluation, packed: pictures.Packed, number: int) -> str:
    return (
        f"{counted(number, 'case')}, by the rule of run {run.name} ({run.decision}). Pictures are up to "
        f"{packed.side} pixels, compressed; probabilities are exact, and masks are decided in this page at "
        "1024x1024 as the package does. A patient's left is on the right of the picture."
    )


def _choices(run: Evaluation) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the filters that have something to choose from: field, label, values with words."""
    outcomes = [
        ("missed", "missed"),
        ("elsewhere", "marked elsewhere"),
        ("false alarm", "false alarm"),
        ("found", "found"),
        ("rightly empty", "rightly empty"),
    ]
    choices = [("outcome", "Outcome", outcomes)]
    for name, label in (("side", "Patient's side"), ("view", "View"), ("sex", "Sex")):
        values = sorted(set(run.studies[name].fillna("").astype(str)) - {""})
        choices.append((name, label, [(value, value) for value in values]))
    return choices


def _case_data(
    runs: Sequence[Evaluation], orders: Sequence[np.ndarray], pictured: np.ndarray, *, identify: bool
) -> dict[str, Any]:
    """Return what `web/cases.js` reads of all cases: columns, and the results of each run."""
    studies = runs[0].studies
    ages = pd.to_numeric(studies["age"], errors="coerce")
    text = {name: studies[name].fillna("").astype(str).tolist() for name in ("side", "view", "sex", "fold")}
    data: dict[str, Any] = {
        "id": studies["ImageId"].tolist(),
        "truth": runs[0].truth.tolist(),
        "pictured": pictured.tolist(),
        "width": studies["width"].tolist(),
        "height": studies["height"].tolist(),
        "age": [None if np.isnan(age) else age for age in ages.tolist()],
        **text,
    }
    if identify:
        data["patient"] = studies["patient"].fillna("").astype(str).tolist()
    data["runs"] = [_results(run, order) for run, order in zip(runs, orders, strict=True)]
    return data


def _results(run: Evaluation, order: np.ndarray) -> dict[str, Any]:
    names = ("threshold", "top", "min_area", "min_component", "gate")
    presence = run.counts.presence
    return {
        "name": run.name,
        "size": run.parts[0].probabilities.shape[1],
        "rule": {name: getattr(run.decision, name) for name in names},
        "dice": run.dice[order].round(4).tolist(),
        "area": run.area[order].tolist(),
        "score": run.scores[order].round(4).tolist(),
        "presence": None if presence is None else presence[order].tolist(),
    }
