"""Figures and tables of a run's rule: how the metric moves with its parts, and what each of them empties."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from pneumothorax.inference.decision import Decision
from pneumothorax.inference.pixel_counts import THRESHOLDS, Floats
from pneumothorax.inference.search import GATES, MIN_AREAS, Rule, apply, is_kept
from pneumothorax.metric import dice
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.svg import BLUE, GREEN, GREY, ORANGE, RED

PANELS = (("threshold", THRESHOLDS), ("top", THRESHOLDS), ("area", MIN_AREAS), ("gate", GATES))
TITLES = {
    "threshold": "threshold",
    "top": "top: probability that counts",
    "area": "least area above the top, pixels",
    "gate": "gate: least image-level probability",
}


def nearest_rule(decision: Decision) -> Rule:
    """Return the rule of the search's grids that is nearest to a decision, without the least piece."""

    def place(grid: np.ndarray, value: float) -> int:
        return int(np.abs(np.asarray(grid, np.float64) - value).argmin())

    threshold = place(THRESHOLDS, decision.threshold)
    top = threshold if decision.top is None else place(THRESHOLDS, decision.top)
    return Rule(top, threshold, place(MIN_AREAS, decision.min_area), 0, place(GATES, decision.gate))


def sweep(run: Evaluation, part: str) -> list[tuple[float, Floats, float]]:
    """Vary one part of the run's rule over the search's grid, the others as they are.

    Args:
        run: The run.
        part: 'threshold', 'top', 'area' or 'gate'.

    Returns:
        Of each value: itself, the Dice of each image, shape (N,), and the share of images left empty. The top
        never lies below the threshold.
    """
    rule = nearest_rule(run.decision)
    points = []
    for at, value in enumerate(dict(PANELS)[part]):
        one = replace(rule, **{part: at})
        if part == "threshold":
            one = replace(one, top=max(one.top, at))
        if part == "top" and at < rule.threshold:
            continue
        empty = ~is_kept(run.counts, one) | (run.counts.area[:, one.threshold] == 0)
        points.append((float(value), apply(run.counts, one), float(empty.mean())))
    return points


def draw_sweeps(run: Evaluation) -> Figure:
    """Draw how the metric moves with each part of the rule, and the share of images that it leaves empty."""
    panels = [part for part, _ in PANELS if part != "gate" or run.counts.image_probability is not None]
    figure = Figure(figsize=(3.4 * len(panels), 3.6), layout="constrained")
    chosen = nearest_rule(run.decision)
    for axis, part in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        values, each, empty = zip(*sweep(run, part), strict=True)
        whole = np.array([one.mean() for one in each])
        axis.plot(values, whole, color=BLUE, linewidth=2.5, label="competition metric")
        for rows, name, colour, dash in (
            (run.positive, "Dice of positives", ORANGE, "--"),
            (~run.positive, "of negatives", GREEN, "-."),
        ):
            if rows.any():
                axis.plot(
                    values, [one[rows].mean() for one in each], color=colour, linestyle=dash, label=name
                )
        axis.plot(values, empty, color=GREY, linestyle=":", label="share of images left empty")
        at = float(dict(PANELS)[part][getattr(chosen, part)])
        axis.axvline(
            at, color=RED, linewidth=1, label="where the search stopped" if run.is_tuned else "the rule"
        )
        if part == "area":
            axis.set_xscale("symlog", linthresh=50)
            axis.set_xlim(left=0)
        axis.set_xlabel(TITLES[part], fontsize=9)
        axis.set_ylim(-0.02, 1.02)
        axis.grid(alpha=0.25)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=8,
    )
    return figure


def draw_map(run: Evaluation) -> Figure:
    """Draw the metric over threshold (or top, where it counts) and least area together."""
    rule = nearest_rule(run.decision)
    table = np.array(
        [
            [
                float(apply(run.counts, replace(rule, top=max(top, rule.threshold), area=area)).mean())
                for top in range(rule.threshold, len(THRESHOLDS))
            ]
            for area in range(len(MIN_AREAS))
        ]
    )
    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(table, cmap="viridis", aspect="auto", origin="lower")
    tops = THRESHOLDS[rule.threshold :]
    axis.set_xticks(range(0, len(tops), 3), [f"{value:g}" for value in tops[::3]])
    axis.set_yticks(range(0, len(MIN_AREAS), 3), [f"{value:,}" for value in MIN_AREAS[::3]])
    axis.plot(
        max(rule.top - rule.threshold, 0), rule.area, "o", color=RED, markersize=9, markeredgecolor="white"
    )
    axis.set(xlabel="top", ylabel="least area, pixels")
    figure.colorbar(shown, ax=axis, label="competition metric")
    return figure


def emptied(run: Evaluation) -> list[tuple[str, ...]]:
    """Tell how many images each part of the rule leaves empty, in the order in which they are applied.

    Returns:
        Rows of a table: what, positives, negatives, all.
    """
    decision, image_probability = run.decision, run.counts.image_probability
    half = int(np.abs(THRESHOLDS - decision.threshold).argmin())
    rule = nearest_rule(decision)
    left = np.ones(len(run.positive), bool)
    steps: list[tuple[str, np.ndarray]] = []
    if image_probability is not None:
        steps.append(
            (f"image-level probability below the gate {decision.gate:g}", image_probability < decision.gate)
        )
    top = decision.threshold if decision.top is None else decision.top
    area = run.counts.area[:, rule.top]
    steps.append((f"no pixel above {top:g}", area == 0))
    if decision.min_area > 1:
        steps.append((f"fewer than {decision.min_area:,} pixels above {top:g}", area < decision.min_area))
    if decision.min_component:
        steps.append((f"no component of {decision.min_component:,} pixels", run.area == 0))
    rows = []
    for name, falls in steps:
        now = left & falls
        left &= ~falls
        rows.append(_counted(f"left empty: {name}", now, run))
    rows.append(_counted("marked", left & (run.area > 0), run))
    gain = dice(run.counts.overlap[:, half], run.truth, run.counts.area[:, half]).mean()
    return [*rows, ("metric of the threshold alone", "", "", f"{gain:.4f}")]


def _counted(name: str, rows: np.ndarray, run: Evaluation) -> tuple[str, ...]:
    counts = (
        np.count_nonzero(rows & run.positive),
        np.count_nonzero(rows & ~run.positive),
        np.count_nonzero(rows),
    )
    return (name, *(f"{number:,}" for number in counts))
