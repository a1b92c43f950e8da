"""Training curves by epoch: loss, Dice, learning rate, positive rate; a colour for each fold."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pneumothorax.data.batches import positive_rate
from pneumothorax.errors import UserError
from pneumothorax.legs import legs_of
from pneumothorax.training.fold_folder import REMEDY, FoldFolder, read_recipe
from pneumothorax.training.history import monitored, read_history
from pneumothorax.training.sessions import read_sessions, resumed_epochs
from pneumothorax.training.weight_averaging import best_epochs

MONITORS = {
    "val_gain": "gain over all-empty",
    "val_mean_dice": "mean soft Dice",
    "val_hard_dice": "mean Dice, cut at 0.5",
    "val_balanced_dice": "balanced Dice",
}


@dataclass(frozen=True)
class Course:
    """The training curves of one fold.

    Attributes:
        history: One row an epoch, as in ``history.csv``; values may be missing.
        monitor: The column that picks the best epoch.
        resumed: Epochs after which training was resumed.
        rates: Share of positives in each epoch's images, shape (E,); None without a positive rate.
        legs: For each leg after the first, the number of epochs before it, and its size in pixels.
    """

    history: pd.DataFrame
    monitor: str = "val_mean_dice"
    resumed: tuple[int, ...] = ()
    rates: npt.NDArray[np.float64] | None = None
    legs: tuple[tuple[int, int], ...] = ()

    @property
    def best(self) -> int | None:
        """The row of the epoch whose weights are kept; None if the monitor has no number."""
        places = np.flatnonzero(np.isfinite(self.history[self.monitor].to_numpy(np.float64)))
        rows = [dict(self.history.iloc[place]) for place in places]
        return int(places[best_epochs(rows, self.monitor)[0]]) if rows else None


def read_course(fold: FoldFolder) -> Course:
    """Read the training curves of a fold.

    Raises:
        UserError: The history is missing or damaged.
    """
    recipe, history = read_recipe(fold), read_history(fold)
    monitor = monitored(recipe)
    if monitor not in history:
        monitor = "val_mean_dice"
    legs = legs_of(recipe)
    numbers = (history["leg"] if "leg" in history else pd.Series(1, history.index)).astype(int) - 1
    if len(numbers) and numbers.max() >= len(legs):
        found = f"{fold.history} has epochs of leg {numbers.max() + 1}, but the recipe has {len(legs)}"
        raise UserError(found, "the history of this recipe", REMEDY)
    within = numbers.groupby(numbers).cumcount()
    rates = None
    if any(leg.positive_rate for leg in legs):
        rates = np.array(
            [
                positive_rate(legs[number], epoch) if legs[number].positive_rate else np.nan
                for number, epoch in zip(numbers, within, strict=True)
            ]
        )
    begun = np.flatnonzero((within == 0) & (numbers > 0))
    return Course(
        history,
        monitor,
        tuple(resumed_epochs(read_sessions(fold))),
        rates,
        tuple((int(place), legs[numbers[place]].size) for place in begun),
    )


def draw_curves(courses: Mapping[str, Course]) -> Figure:
    """Draw the curves of some folds, by their names; solid is validation, dashed training."""
    rates = any(course.rates is not None for course in courses.values())
    figure = Figure(figsize=(16 if rates else 12, 4.2), layout="constrained")
    axes = figure.subplots(1, 3 + rates)
    for number, (name, course) in enumerate(courses.items()):
        _draw_course(axes, number, name, course)
    monitors = {course.monitor for course in courses.values()}
    shown = MONITORS[next(iter(monitors))] if len(monitors) == 1 else "Dice that picks the epoch"
    for axis, title in zip(axes, ("loss", shown, "learning rate", "share of positives"), strict=False):
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    if _spread(courses) > 20:  # the first epochs would press all others flat
        axes[0].set_yscale("log")
        axes[0].set_title("loss (logarithmic)")
    if monitors != {"val_gain"}:
        axes[1].set_ylim(-0.02, 1.02)
    axes[2].set_yscale("log")
    if rates:
        axes[3].set_ylim(0, 1)
    resumes = "; dotted: training resumed" if any(one.resumed for one in courses.values()) else ""
    legs = "; grey: a leg begins" if any(one.legs for one in courses.values()) else ""
    figure.suptitle(f"solid: validation, dashed: training{resumes}{legs}", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_course(axes: npt.NDArray[np.object_], number: int, name: str, course: Course) -> None:
    """Draw one fold into all axes."""
    rows, colour = course.history, f"C{number % 10}"
    mark = "." if len(rows) == 1 else None
    for axis, column in ((axes[0], "loss"), (axes[1], course.monitor.removeprefix("val_"))):
        if column in rows:  # the gain is that of validation alone
            axis.plot(rows["epoch"], rows[column], "--", marker=mark, color=colour, alpha=0.6)
        axis.plot(rows["epoch"], rows[f"val_{column}"], "-", marker=mark, color=colour)
    if (best := course.best) is None:
        axes[1].plot([], [], color=colour, label=f"{name}: no best epoch, the scores are no numbers")
    else:
        epoch, value = rows["epoch"].iloc[best], rows[course.monitor].iloc[best]
        axes[1].plot(epoch, value, "o", color=colour, label=f"{name}: best {value:.3f} in epoch {epoch:.0f}")
    axes[2].plot(rows["epoch"], rows["learning_rate"], "-", marker=mark, color=colour)
    if course.rates is not None:
        axes[3].plot(rows["epoch"], course.rates, "-", marker=mark, color=colour)
    for epoch in course.resumed:
        for axis in axes:
            _mark_resume(axis, epoch, colour)
    for epoch, size in course.legs:
        for axis in axes:
            axis.axvline(epoch + 0.5, color="0.5", linewidth=1)
            axis.annotate(
                f" {size} px", (epoch + 0.5, 1), xycoords=("data", "axes fraction"), va="top", fontsize=8
            )


def _mark_resume(axis: Axes, epoch: int, colour: str) -> None:
    axis.axvline(epoch + 0.5, color=colour, linewidth=1, linestyle=":", alpha=0.8)


def _spread(courses: Mapping[str, Course]) -> float:
    """Return the ratio of the highest to the lowest loss; 0 if one is not positive, or none is a number."""
    columns = ["loss", "val_loss"]
    losses = np.concatenate(
        [course.history[columns].to_numpy(np.float64).ravel() for course in courses.values()]
    )
    losses = losses[np.isfinite(losses)]
    return float(losses.max() / losses.min()) if len(losses) and losses.min() > 0 else 0.0
