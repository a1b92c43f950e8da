"""The competition's scale: the metric of each run among known scores of the competition."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.page_text import plain, shorten
from pneumothorax.report.svg import GREY, RED, RUNS


@dataclass(frozen=True)
class Reference:
    """A known score of the competition.

    Attributes:
        score: The competition metric.
        name: Short, for the figure.
        explained: Method or team that scored it, for the caption.
        colour: Colour of its line.
        dashes: Style of its line.
    """

    score: float
    name: str
    explained: str
    colour: str = GREY
    dashes: str = "--"


# Private leaderboard of 2019, but the first.
REFERENCES = (
    Reference(0.7886, "all-empty", "every image of stage 1's test set left empty", dashes=":"),
    Reference(0.8461, "one architecture", "one architecture (ResNet34 U-Net, 1024 pixels, five folds)"),
    Reference(
        0.8512,
        "42nd place",
        "the 42nd place (ResNet18 U-Net on positives and a network that classifies empty images, 768 "
        "pixels, no mirror images)",
    ),
    Reference(0.8679, "1st place", "the 1st place", RED, "-"),
)
PRIVATE_ERROR, OUT_OF_FOLD_ERROR = 0.005, 0.003  # standard errors
OUT_OF_FOLD_IMAGES = 12_047
NORMAL_INTERVAL = 2 * 1.96  # standard errors in a 95 % interval

CAPTION = (
    "Dot and band: the run's metric and its interval; cross: all-empty on these images; bar: a perfect "
    "classifier with these masks. Lines, all of other images: "
    + "; ".join(f"{one.score:.4f} {one.explained}" for one in REFERENCES)
    + ". All but the first are of the private leaderboard of 2019."
)


LABEL_HEIGHT, GROUND = 0.44, {"facecolor": "#ffffff", "edgecolor": "none", "pad": 1.0}


def draw_scale(runs: Sequence[Evaluation]) -> Figure:
    """Draw the metric of each run on one scale with all-empty, a perfect classifier and the references.

    The figure is narrow, and names stand inside it, so that it can be read at a phone's width.
    """
    labels = LABEL_HEIGHT * len(REFERENCES)
    figure = Figure(figsize=(4.5, 0.75 + 0.5 * (labels + len(runs))), layout="constrained")
    axis = figure.subplots()
    shown = [value for run in runs for value in (*run.metric(), run.ceiling(), _all_empty(run))]
    axis.set_xlim(*_limits(shown))
    axis.set_ylim(labels + len(runs), 0)
    _draw_references(axis)
    for place, run in enumerate(runs):
        top = labels + place
        y = top + 0.7
        score, low, high = run.metric()
        colour = RUNS[place % len(RUNS)]
        axis.axhline(top, color="#cccccc", linewidth=0.8)
        name = f"{plain(shorten(run.name))}  {score:.4f}"
        inside = axis.get_yaxis_transform()
        axis.text(0.01, top + 0.28, name, transform=inside, va="center", color=colour, bbox=GROUND)
        axis.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.4, solid_capstyle="butt")
        axis.plot(score, y, "o", color=colour, markersize=8)
        axis.plot(run.ceiling(), y, "|", color=colour, markersize=13, markeredgewidth=2)
        axis.plot(_all_empty(run), y, "x", color=colour, markersize=7)
    axis.set_yticks([])
    axis.locator_params(axis="x", nbins=6)
    left, right = axis.get_xlim()
    axis.set_xticks([tick for tick in axis.get_xticks() if left <= tick <= min(1.0, right)])
    axis.set_xlabel("competition metric")
    return figure


def _limits(shown: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the scale: all values lie between, and each reference's label fits right of it."""
    left = max(0.0, min(*shown, *(one.score for one in REFERENCES)) - 0.02)
    right = max(shown) + 0.02
    for one in REFERENCES:
        share = 0.05 + 0.0195 * len(_label(one))  # of the figure's width
        right = max(right, (one.score - share * left) / (1 - share))
    return left, right


def _draw_references(axis: Axes) -> None:
    """Draw a line for each reference from its label down; the lowest on top, so that no line meets one."""
    bottom = axis.get_ylim()[0]
    for row, one in enumerate(sorted(REFERENCES, key=lambda one: one.score)):
        y = LABEL_HEIGHT * (row + 0.5)
        top = LABEL_HEIGHT * (row + 0.15)
        axis.plot([one.score] * 2, [top, bottom], color=one.colour, linewidth=1.5, linestyle=one.dashes)
        axis.annotate(
            _label(one), (one.score, y), (5, 0), textcoords="offset points", va="center", bbox=GROUND
        )


def _label(reference: Reference) -> str:
    return f"{reference.score:.4f} {reference.name}"


def explain_trust(runs: Sequence[Evaluation]) -> str:
    """Return a text on which scores to trust, with the standard error of each run's own."""
    errors = ", ".join(f"{standard_error(run):.4f} ({run.name})" for run in runs)
    by_image = [run.name for run in runs if run.recipe is not None and run.recipe.split != "folds"]
    unfit = f" The split of {', '.join(by_image)} is by image, not by patient." if by_image else ""
    return (
        "Local scores on folds grouped by patient are the ones to trust. Standard error over patients on "
        f"these {len(runs[0].studies):,} images: {errors}. That of a private leaderboard score is about "
        f"{PRIVATE_ERROR}, and of an out-of-fold score on {OUT_OF_FOLD_IMAGES:,} images {OUT_OF_FOLD_ERROR}, "
        f"so neighbouring places of the leaderboard differ by chance.{unfit}"
    )


def standard_error(run: Evaluation) -> float:
    """Return the standard error of a run's metric, from its interval over patients."""
    _, low, high = run.metric()
    return (high - low) / NORMAL_INTERVAL


def _all_empty(run: Evaluation) -> float:
    return float((~run.positive).mean())
