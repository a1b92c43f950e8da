"""Compare two or more runs on the same images: gains and losses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pneumothorax.data.folds import patients_of
from pneumothorax.errors import UserError
from pneumothorax.inference.averaging import Source, check_agreement
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.report.charts import Drawn
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.page_text import plain, shorten
from pneumothorax.report.summary import Table
from pneumothorax.report.svg import BLUE, GREY, ORANGE, case_link

LISTED = 12  # cases listed among the largest gains, and losses
TIE = 1e-9


def common_parts(parts: dict[Path, list[Predictions]], *, shared_only: bool) -> dict[Path, list[Predictions]]:
    """Restrict the evaluated parts of several runs to the same images, with one truth.

    Args:
        parts: Parts of each run.
        shared_only: Leave out images that some runs lack, instead of refusing.

    Raises:
        UserError: The runs have different images, or different masks of them.
    """
    if shared_only:
        names = [{name for part in of_run for name in part.studies["ImageId"]} for of_run in parts.values()]
        shared = set.intersection(*names)
        if not shared:
            raise UserError(
                f"no image that {' and '.join(run.name for run in parts)} both have",
                "runs that hold out the same images",
                "report them one by one",
            )
        parts = {
            run: [kept for part in of_run if len((kept := _keep(part, shared)).studies)]
            for run, of_run in parts.items()
        }
    sources = [Source(run.name, 1.0, of_run) for run, of_run in parts.items()]
    check_agreement(
        sources, "the evaluated part", "add --common to compare their common images, or report each alone"
    )
    return parts


def _keep(part: Predictions, names: set[str]) -> Predictions:
    rows = np.flatnonzero(part.studies["ImageId"].isin(names).to_numpy())
    return Predictions(part.folder, part.probabilities[rows], part.studies.iloc[rows].reset_index(drop=True))


def align(runs: Sequence[Evaluation]) -> list[np.ndarray]:
    """Return, for each run, its rows in the order of the first run's images."""
    first = runs[0].studies["ImageId"]
    orders = []
    for run in runs:
        places = {name: row for row, name in enumerate(run.studies["ImageId"])}
        orders.append(np.array([places[name] for name in first]))
    return orders


def gains(runs: Sequence[Evaluation], orders: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the gain of each further run over the first on each image, shape (N,) each."""
    return [run.dice[order] - runs[0].dice for run, order in zip(runs[1:], orders[1:], strict=True)]


def gain_table(runs: Sequence[Evaluation], gained: Sequence[np.ndarray]) -> Table:
    """Return the paired differences to the first run, with their intervals."""
    rows = []
    patients = patients_of(runs[0].studies)
    for run, each in zip(runs[1:], gained, strict=True):
        low, high = bootstrap(each, patients)
        positive = runs[0].positive
        rows.append(
            (
                f"{run.name} − {runs[0].name}",
                f"{each.mean():+.4f}",
                f"{low:+.4f} to {high:+.4f}",
                *(f"{each[part].mean():+.4f}" if part.any() else "–" for part in (positive, ~positive)),
                f"{int((each > TIE).sum()):,}",
                f"{int((each < -TIE).sum()):,}",
                f"{int((np.abs(each) <= TIE).sum()):,}",
            )
        )
    head = ["", "metric", "95 % interval", "positives", "negatives", "gained", "lost", "alike"]
    caption = "Image by image, each run by its own rule; intervals by drawing patients"
    if any(run.is_nested for run in runs):
        caption += ". Rules were chosen on these images, so these means are not the nested metrics"
    return head, rows, caption


def draw_pairs(runs: Sequence[Evaluation], other: int, order: np.ndarray, pictured: np.ndarray) -> Drawn:
    """Draw the Dice of one run against that of the first; a point leads to its case."""
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axis = figure.subplots()
    positive = runs[0].positive
    links: dict[str, str] = {}
    names = runs[0].studies["ImageId"].to_numpy()
    second = runs[other].dice[order]
    for rows, colour, marker, label in (
        (positive, BLUE, "o", "positives"),
        (~positive, ORANGE, "^", "negatives"),
    ):
        shown = np.flatnonzero(rows & pictured)
        points = axis.scatter(
            runs[0].dice[shown],
            second[shown],
            s=20,
            color=colour,
            marker=marker,
            alpha=0.6,
            linewidths=0,
            label=label,
        )
        points.set_urls([case_link(name) for name in names[shown]])
        for row in shown:
            links[case_link(names[row])] = f"{names[row]}: {runs[0].dice[row]:.2f} and {second[row]:.2f}"
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    axis.set(xlabel=plain(f"Dice by {runs[0].name}"), ylabel=plain(f"Dice by {runs[other].name}"))
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axis.legend(frameon=False, fontsize=8)
    return figure, links


def list_cases(
    runs: Sequence[Evaluation], other: int, gained: np.ndarray, pictured: np.ndarray
) -> list[tuple]:
    """List the cases with the largest gains and losses: names of the lists, and their labelled links."""
    names = runs[0].studies["ImageId"].to_numpy()
    found = []
    for word, sign in (("gained", 1), ("lost", -1)):
        rows = np.flatnonzero(pictured & (sign * gained > TIE))
        rows = rows[np.argsort(-sign * gained[rows], kind="stable")][:LISTED]
        links = [(case_link(names[row]), f"{shorten(names[row])} {gained[row]:+.3f}") for row in rows]
        if links:
            found.append((f"Where {runs[other].name} {word}", links))
    return found
