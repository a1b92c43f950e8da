"""Figures of evaluated images: Dice, area, and groups of patients.

Each takes evaluations, the first of which is the page's main run, and returns a matplotlib figure and its
links.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pneumothorax.data.folds import patients_of
from pneumothorax.inference.evaluate import PAPER
from pneumothorax.inference.pixel_counts import Flags
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.groups import Group, list_groups
from pneumothorax.report.page_text import plain
from pneumothorax.report.svg import BLUE, DASHES, GREEN, GREY, ORANGE, RED, RUNS, case_link, cases_link

Drawn = tuple[Figure, dict[str, str]]

SIZE = (5.2, 3.6)  # inches of one chart
MOST_POINTS = 1500  # of a scatter: more are slow and overlap


def draw_histogram(runs: Sequence[Evaluation]) -> Drawn:
    """Draw the paper's histogram: the Dice of each image with a pneumothorax; bars link to their cases."""
    figure, axis = start_chart()
    edges = np.round(np.linspace(0, 1, 21), 2)
    links = {}
    for number, run in enumerate(runs):
        values = run.dice[run.positive]
        if number:
            axis.hist(
                values,
                edges.tolist(),
                histtype="step",
                color=RUNS[number % len(RUNS)],
                linestyle=DASHES[number % len(DASHES)],
                linewidth=2,
                label=plain(run.name),
            )
            continue
        counts, _ = np.histogram(values, edges)
        bars = axis.bar(edges[:-1], counts, 0.05, align="edge", color=BLUE, ec="white", label=plain(run.name))
        for bar, low, high, images in zip(bars, edges[:-1], edges[1:], counts, strict=True):
            address = cases_link(dice=f"{low:g}-{high:g}", truth="1", run="0")
            links[address] = f"{images:.0f} images with a Dice of {low:g} to {high:g}"
            bar.set_url(address)
    mean = float(runs[0].dice[runs[0].positive].mean())
    axis.axvline(mean, color="black", linewidth=1.5, label=f"mean {mean:.3f}")
    axis.axvline(
        PAPER["mean"], color=RED, linestyle="--", label=f"the paper's mean {PAPER['mean']:.3f} (soft)"
    )
    axis.set(xlabel="Dice of one image, at 1024x1024", ylabel="images", xlim=(-0.01, 1.01))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure, links


def draw_dice_by_area(run: Evaluation, pictured: Flags) -> Drawn:
    """Draw each positive's Dice against the area of its lesion, with the mean of each third of a decade.

    Points of pictured cases (flags of shape (N,)) are links.
    """
    figure, axis = start_chart()
    rows = _some(np.flatnonzero(run.positive))
    links = _scatter(axis, run, rows, run.truth[rows], run.dice[rows], pictured)
    area, values = run.truth[run.positive], run.dice[run.positive]
    bins = np.floor(np.log10(area) * 3).astype(int)
    means = pd.Series(values).groupby(bins).mean()
    axis.plot(10 ** ((means.index + 0.5) / 3), means, color=ORANGE, linewidth=2, label="mean")
    axis.set(
        xscale="log", xlabel="true area, pixels at 1024x1024 (log scale)", ylabel="Dice", ylim=(-0.03, 1.03)
    )
    return figure, links


def draw_area(run: Evaluation, pictured: Flags) -> Drawn:
    """Draw the predicted against the true area of images with a pneumothorax, on logarithmic axes.

    Points of pictured cases (flags of shape (N,)) are links.
    """
    figure, axis = start_chart()
    rows = _some(np.flatnonzero(run.positive))
    least = max(1, int(run.truth[run.positive].min()) // 4)
    links = _scatter(axis, run, rows, run.truth[rows], np.maximum(run.area[rows], least), pictured)
    ends = [least, int(max(run.truth.max(), run.area.max())) * 1.3]
    axis.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
    axis.set(
        xscale="log", yscale="log", xlabel="true area, pixels at 1024x1024", ylabel="predicted area, pixels"
    )
    axis.set_title(f"none predicted: drawn at {least:,}", fontsize=9)
    return figure, links


def draw_groups(run: Evaluation) -> Drawn:
    """Draw the mean Dice of positives by view, sex, age and side, with 95 % intervals."""
    columns = [(name, _groups_of(run, name)) for name in ("view", "sex", "age", "side")]
    columns = [(name, groups) for name, groups in columns if len(groups) > 1]
    figure = Figure(figsize=(max(SIZE[0], 2.7 * max(len(columns), 1)), 3.2), layout="constrained")
    links: dict[str, str] = {}
    for axis, (name, groups) in zip(
        figure.subplots(1, max(len(columns), 1), sharey=True, squeeze=False)[0], columns, strict=False
    ):
        for place, (label, value, rows) in enumerate(groups):
            values = run.dice[rows]
            low, high = bootstrap(values, patients_of(run.studies[rows]), resamples=500)
            (bar,) = axis.bar([place], [values.mean()], color=BLUE, width=0.7)
            axis.errorbar([place], [(low + high) / 2], yerr=(high - low) / 2, color="black", capsize=3)
            if value is None:
                continue
            address = cases_link(**{name: value}, truth="1", run="0")
            links[address] = f"{len(values):,} images, {name} {label}, mean Dice {values.mean():.3f}"
            bar.set_url(address)
        axis.set_xticks(
            range(len(groups)), [f"{plain(label)}\n{rows.sum():,}" for label, _, rows in groups], fontsize=8
        )
        axis.set_title({"age": "age, years"}.get(name, name), fontsize=10)
        axis.set_ylim(0, 1)
    figure.supylabel("mean Dice of positives", fontsize=10)
    return figure, links


def _groups_of(run: Evaluation, name: str) -> list[Group]:
    """Return the groups of positives that have any."""
    return [
        (label, value, rows & run.positive)
        for label, value, rows in list_groups(run, name)
        if (rows & run.positive).any()
    ]


def _scatter(
    axis: Axes, run: Evaluation, rows: np.ndarray, x: np.ndarray, y: np.ndarray, pictured: Flags
) -> dict[str, str]:
    """Draw one point for each image, with a link if it is pictured."""
    names = run.studies["ImageId"].to_numpy()
    points = axis.scatter(x, y, s=16, color=GREEN, alpha=0.55, linewidths=0)
    points.set_urls([case_link(names[row]) if pictured[row] else None for row in rows])
    return {case_link(names[row]): f"{names[row]}: Dice {run.dice[row]:.3f}" for row in rows if pictured[row]}


def _some(rows: np.ndarray) -> np.ndarray:
    """Return rows, or an even sample of too many."""
    return rows if len(rows) <= MOST_POINTS else rows[np.linspace(0, len(rows) - 1, MOST_POINTS).astype(int)]


def start_chart() -> tuple[Figure, Axes]:
    """Return an empty chart with a faint grid."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    return figure, axis
