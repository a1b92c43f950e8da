"""Figures and tables of a run's rule: the metric by each part, and the images that each empties."""

from dataclasses import fields, replace

import numpy as np
from matplotlib.figure import Figure

from pneumothorax.inference.pixel_counts import THRESHOLDS, Floats
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.search import GRIDS, MIN_AREAS, Candidate, apply, is_kept, to_candidate
from pneumothorax.metric import dice
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.svg import BLUE, GREEN, GREY, ORANGE, RED

PARTS = {part.name: part for part in fields(Rule)}


def nearest_candidate(run: Evaluation) -> Candidate:
    """Return the candidate of the search that is nearest to a run's rule; its minimum component is 0."""
    return replace(to_candidate(run.decision.rule), min_component=0)


def sweep(run: Evaluation, name: str) -> list[tuple[float, Floats, float]]:
    """Vary one part of the run's rule over the search's grid, the others as they are.

    Args:
        run: The run.
        name: Field of `Rule`, except `min_component`.

    Returns:
        Of each value: itself, the Dice of each image, shape (N,), and the share of images left empty. The top
        threshold never lies below the threshold.
    """
    rule = nearest_candidate(run)
    points = []
    for at, value in enumerate(GRIDS[name]):
        one = replace(rule, **{name: at})
        if name == "threshold":
            one = replace(one, top_threshold=max(one.top_threshold, at))
        if name == "top_threshold" and at < rule.threshold:
            continue
        empty = ~is_kept(run.counts, one) | (run.counts.area[:, one.threshold] == 0)
        points.append((float(value), apply(run.counts, one), float(empty.mean())))
    return points


def _panels(run: Evaluation) -> list[str]:
    """List the parts of the rule whose sweeps are drawn."""
    left_out = {"min_component"}
    if run.counts.image_probability is None:
        left_out.add("classification_threshold")
    return [name for name in GRIDS if name not in left_out]


def draw_sweeps(run: Evaluation) -> Figure:
    """Draw how the metric moves with each part of the rule, and the share of images that it leaves empty."""
    panels = _panels(run)
    figure = Figure(figsize=(3.4 * len(panels), 3.6), layout="constrained")
    chosen = nearest_candidate(run)
    for axis, name in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        values, each, empty = zip(*sweep(run, name), strict=True)
        whole = np.array([one.mean() for one in each])
        axis.plot(values, whole, color=BLUE, linewidth=2.5, label="competition metric")
        for rows, label, colour, dash in (
            (run.positive, "Dice of positives", ORANGE, "--"),
            (~run.positive, "of negatives", GREEN, "-."),
        ):
            if rows.any():
                axis.plot(
                    values, [one[rows].mean() for one in each], color=colour, linestyle=dash, label=label
                )
        axis.plot(values, empty, color=GREY, linestyle=":", label="share of images left empty")
        at = float(GRIDS[name][getattr(chosen, name)])
        axis.axvline(
            at, color=RED, linewidth=1, label="where the search stopped" if run.is_tuned else "the rule"
        )
        if PARTS[name].metadata["type"] is int:  # pixels
            axis.set_xscale("symlog", linthresh=50)
            axis.set_xlim(left=0)
        axis.set_xlabel(PARTS[name].metadata["label"].lower(), fontsize=9)
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
    """Draw the metric over top threshold and minimum area together, with the threshold as it is."""
    rule = nearest_candidate(run)
    table = np.array(
        [
            [
                float(apply(run.counts, replace(rule, top_threshold=top, min_area=area)).mean())
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
        max(rule.top_threshold - rule.threshold, 0),
        rule.min_area,
        "o",
        color=RED,
        markersize=9,
        markeredgecolor="white",
    )
    axis.set(xlabel="top threshold", ylabel="minimum area, pixels")
    figure.colorbar(shown, ax=axis, label="competition metric")
    return figure


def emptied(run: Evaluation) -> list[tuple[str, ...]]:
    """Count how many images each part of the rule leaves empty, in the order in which they are applied.

    Returns:
        Rows of a table: part, positives, negatives, all.
    """
    rule, image_probability = run.decision.rule, run.counts.image_probability
    candidate = nearest_candidate(run)
    left = np.ones(len(run.positive), bool)
    steps: list[tuple[str, np.ndarray]] = []
    if image_probability is not None:
        least = rule.classification_threshold
        steps.append(
            (
                f"image-level probability below the classification threshold {least:g}",
                image_probability < least,
            )
        )
    area = run.counts.area[:, candidate.top_threshold]
    steps.append((f"no pixel above {rule.first_cut:g}", area == 0))
    if rule.min_area > 1:
        steps.append((f"fewer than {rule.min_area:,} pixels above {rule.first_cut:g}", area < rule.min_area))
    if rule.min_component:
        steps.append((f"no component of {rule.min_component:,} pixels", run.area == 0))
    rows = []
    for name, falls in steps:
        now = left & falls
        left &= ~falls
        rows.append(_counted(f"left empty: {name}", now, run))
    if (rest := left & (run.area == 0)).any():
        rows.append(_counted("left empty otherwise", rest, run))
    rows.append(_counted("marked", left & (run.area > 0), run))
    cut = candidate.threshold
    gain = dice(run.counts.overlap[:, cut], run.truth, run.counts.area[:, cut]).mean()
    return [*rows, ("metric of the threshold alone", "", "", f"{gain:.4f}")]


def _counted(name: str, rows: np.ndarray, run: Evaluation) -> tuple[str, ...]:
    counts = (
        np.count_nonzero(rows & run.positive),
        np.count_nonzero(rows & ~run.positive),
        np.count_nonzero(rows),
    )
    return (name, *(f"{number:,}" for number in counts))
