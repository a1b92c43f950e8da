"""Figures of probabilities against the truth: ROC, precision and recall, reliability of pixels and images.

Each takes evaluations, the first of which is the page's main run, and returns a matplotlib figure and its
links.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pneumothorax.inference.pixel_counts import Flags, Floats
from pneumothorax.inference.predictions import STEPS
from pneumothorax.report.charts import Drawn, start_chart
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.page_text import plain
from pneumothorax.report.svg import DASHES, GREY, RUNS


def draw_roc(runs: Sequence[Evaluation]) -> Drawn:
    """Draw the ROC of images with a pneumothorax against others, with the rule's operating point."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, axis = start_chart()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    for number, run in enumerate(runs):
        false, true, _ = roc_curve(run.positive, run.scores)
        _line(
            axis, number, false, true, f"{plain(run.name)}: AUC {roc_auc_score(run.positive, run.scores):.3f}"
        )
        found = run.area > 0
        axis.plot(
            found[~run.positive].mean(),
            found[run.positive].mean(),
            "o",
            color=RUNS[number % len(RUNS)],
            markersize=8,
        )
    axis.set(xlabel="negatives marked (1 - specificity)", ylabel="positives marked (sensitivity)")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.legend(loc="lower right", frameon=False, fontsize=8)
    return figure, {}


def draw_precision(runs: Sequence[Evaluation]) -> Drawn:
    """Draw precision against recall by image, with the rule's operating point."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axis = start_chart()
    share = float(runs[0].positive.mean())
    axis.axhline(share, color=GREY, linewidth=1, linestyle="--")
    for number, run in enumerate(runs):
        precision, recall, _ = precision_recall_curve(run.positive, run.scores)
        average = average_precision_score(run.positive, run.scores)
        label = f"{plain(run.name)}: average precision {average:.3f}"
        _line(axis, number, recall, precision, label, drawstyle="steps-post")
        if (found := run.area > 0).any():
            axis.plot(
                found[run.positive].mean(),
                run.positive[found].mean(),
                "o",
                color=RUNS[number % len(RUNS)],
                markersize=8,
            )
    axis.set(xlabel="positives marked (recall)", ylabel="marked images that are positive (precision)")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.legend(loc="lower left", frameon=False, fontsize=8)
    return figure, {}


def draw_reliability(runs: Sequence[Evaluation]) -> Drawn:
    """Draw the reliability of pixels and, with a classification head, of images."""
    figure, axis = start_chart()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    for number, run in enumerate(runs):
        mean, true = pixel_reliability(run)
        _line(axis, number, mean, true, f"{plain(run.name)}: pixels", marker=".")
        if run.counts.image_probability is not None:
            mean, true = image_reliability(run.positive, run.counts.image_probability)
            style = {"marker": "s", "markersize": 4, "alpha": 0.6}
            _line(axis, number, mean, true, f"{plain(run.name)}: images, by image-level probability", **style)
    axis.set(xlabel="probability", ylabel="share that is truly pneumothorax")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.legend(loc="upper left", frameon=False, fontsize=8)
    return figure, {}


def pixel_reliability(run: Evaluation) -> tuple[Floats, Floats]:
    """Return the mean probability of each twentieth of its range that has pixels, and their true share.

    Pixels at network size, by the probabilities that are stored.
    """
    value, (pixels, true) = np.arange(STEPS + 1) / STEPS, run.pixels.T
    bins = np.minimum((value * 20).astype(int), 19)
    number, mean, found = (np.bincount(bins, weights) for weights in (pixels, value * pixels, true))
    there = number > 0
    return mean[there] / number[there], found[there] / number[there]


def image_reliability(positive: Flags, image_probability: Floats) -> tuple[Floats, Floats]:
    """Return the mean image-level probability and the positive share of each tenth that has images."""
    bins = np.minimum((image_probability * 10).astype(int), 9)
    table = pd.DataFrame({"bin": bins, "mean": image_probability, "true": positive}).groupby("bin").mean()
    return table["mean"].to_numpy(np.float64), table["true"].to_numpy(np.float64)


def _line(axis: Axes, number: int, x: np.ndarray, y: np.ndarray, label: str, **style: object) -> None:
    axis.plot(
        x,
        y,
        color=RUNS[number % len(RUNS)],
        linestyle=DASHES[number % len(DASHES)],
        label=label,
        **style,  # type: ignore[arg-type]
    )
