"""Groups of evaluated images by view, sex, age, side and lesion size, and how the rule did in each.

Draws nothing; `charts` draws the groups of the report.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from pneumothorax.data.folds import patients_of
from pneumothorax.inference.pixel_counts import Flags
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.page_text import printable, shorten
from pneumothorax.report.summary import Table

Group = tuple[str, str | None, Flags]  # label, value for a link (None without one), images

MOST_GROUPS = 6  # of one kind
LEAST_IMAGES = 10  # of a group in `group_table`: the score of fewer is chance, and might be a patient's
AGES = (0, 20, 40, 60, 80, 200)  # years
AREAS = (1, 1_000, 3_000, 10_000, 30_000, 1 << 20)  # pixels at 1024x1024
RESAMPLES = 500
TITLES = {
    "area": "lesion, pixels at 1024x1024",
    "view": "view",
    "sex": "sex",
    "age": "age, years",
    "side": "side",
}


def list_groups(run: Evaluation, name: str, least: int = 1) -> list[Group]:
    """List the groups of a run's images by one property.

    Of many values, as hand-typed tags make them, the most frequent among the positives have a group each and
    the others one together.

    Args:
        run: The evaluated images, N together.
        name: 'view', 'sex', 'age', 'side' or 'area' (of the lesion).
        least: Number of images below which a value belongs to the others.

    Returns:
        Label, value and flags of shape (N,) of each group; images without the property are in none.
    """
    if name == "area":
        return _spans(run.truth.astype(np.float64), AREAS)
    column = run.studies[name]
    if name == "age":
        return _spans(pd.to_numeric(column, errors="coerce").to_numpy(np.float64), AGES)
    values = column.fillna("").astype(str).to_numpy()
    frequent = pd.Series(values[values != ""]).value_counts()
    frequent = frequent[frequent >= least]
    counts = pd.Series(values[run.positive & (values != "")]).value_counts()
    largest = sorted(value for value in counts.index[:MOST_GROUPS] if value in frequent.index)
    groups: list[Group] = [(shorten(printable(value)), value, values == value) for value in largest]
    return [*groups, ("other", None, (values != "") & ~np.isin(values, largest))]


def group_table(run: Evaluation) -> Table:
    """Return how a run's rule did in each group: Dice and misses of positives, false alarms of negatives."""
    rows = []
    for name, title in TITLES.items():
        groups = list_groups(run, name, LEAST_IMAGES)
        for label, _, images in groups:
            positives, negatives = images & run.positive, images & ~run.positive
            if name in ("area", "side"):  # of a negative there is none, or that of a false alarm
                negatives = np.zeros_like(negatives)
            if positives.any() or negatives.any():
                rows.append((title, label, *_of_positives(run, positives), *_of_negatives(run, negatives)))
    head = ["by", "group", "positives", "mean Dice", "95 % interval", "missed", "negatives", "false alarms"]
    return head, rows, "How the rule does by group"


def _spans(values: np.ndarray, edges: tuple[int, ...]) -> list[Group]:
    """Return the groups of numbers between edges; the last is open above."""
    return [
        (
            f"{low:,}+" if high == edges[-1] else f"{low:,}-{high - 1:,}",
            f"{low}-{high}",
            (values >= low) & (values < high),
        )
        for low, high in pairwise(edges)
    ]


def _of_positives(run: Evaluation, rows: Flags) -> tuple[str, str, str, str]:
    """Return number, mean Dice, its interval over patients, and the share of empty predictions."""
    number = int(np.count_nonzero(rows))
    if number < LEAST_IMAGES:
        return f"{number:,}", "–", "–", "–"
    low, high = bootstrap(run.dice[rows], patients_of(run.studies[rows]), resamples=RESAMPLES)
    missed = float((run.area[rows] == 0).mean())
    return f"{number:,}", f"{run.dice[rows].mean():.3f}", f"{low:.3f} to {high:.3f}", f"{missed:.1%}"


def _of_negatives(run: Evaluation, rows: Flags) -> tuple[str, str]:
    """Return number and share of predictions that are not empty."""
    number = int(np.count_nonzero(rows))
    if number < LEAST_IMAGES:
        return (f"{number:,}" if number else "–"), "–"
    return f"{number:,}", f"{float((run.area[rows] > 0).mean()):.1%}"
