"""The paper's figures: histogram of per-image Dice, overlays of the best, typical and worst cases.

Draws arrays only; knows nothing of networks or run folders. Overlays: truth red, prediction green, both
yellow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure  # without pyplot: needs no display, changes no notebook's settings
from matplotlib.ticker import MaxNLocator

from pneumothorax.report.page_text import counted
from pneumothorax.workspace import atomic

TILE = 320  # longer side of one case on a sheet, in pixels
OUTLINE = (255, 176, 0)  # RGB, for sheets with the true mask only; bright against any grey
LEGEND = "truth red, prediction green, both yellow"


@dataclass(frozen=True)
class Case:
    """One evaluated image.

    Attributes:
        title: Text above it.
        image: uint8 array of shape (H, W).
        truth: uint8 or bool mask of shape (H, W); None if unknown.
        prediction: uint8 or bool mask of shape (H, W).
    """

    title: str
    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.generic] | None
    prediction: npt.NDArray[np.generic]


def overlay(case: Case, strength: float = 0.45) -> npt.NDArray[np.uint8]:
    """Tint an image by its masks and draw their outlines.

    Args:
        case: Image and masks of one shape (H, W).
        strength: Opacity of the tint.

    Returns:
        uint8 array of shape (H, W, 3), RGB.
    """
    grey = np.repeat(case.image[..., None], 3, axis=2).astype(np.float32)
    truth = np.zeros(case.image.shape, bool) if case.truth is None else case.truth.astype(bool)
    prediction = case.prediction.astype(bool)
    tint = np.zeros_like(grey)
    tint[truth, 0] = 255
    tint[prediction, 1] = 255
    covered = truth | prediction
    grey[covered] = (1 - strength) * grey[covered] + strength * tint[covered]
    drawn = grey.astype(np.uint8)
    of_truth, of_prediction = _outline(truth), _outline(prediction)
    drawn[of_truth | of_prediction] = 60
    drawn[of_truth, 0] = 255
    drawn[of_prediction, 1] = 255
    return drawn


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Draw the outlines of a mask, wide enough to stay visible once the image is shrunk to a tile."""
    drawn = np.zeros(mask.shape, np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, 1, max(1, max(mask.shape) // 350))
    return drawn.astype(bool)


def _tile(case: Case) -> npt.NDArray[np.uint8]:
    """Draw one case at the size of a tile, with its aspect ratio."""
    drawn = overlay(case)
    height, width = drawn.shape[:2]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(drawn, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def draw_cases(groups: Mapping[str, Sequence[Case]], path: Path) -> None:
    """Draw one sheet of overlays, a row for each group of cases.

    Args:
        groups: Cases by the name of their row, such as 'best'; at least one case in all.
        path: The PNG file.
    """
    rows = [(name, [(case.title, _tile(case)) for case in cases]) for name, cases in groups.items() if cases]
    known = any(case.truth is not None for cases in groups.values() for case in cases)
    draw_sheet(rows, LEGEND if known else "prediction green", path)


def draw_sheet(
    rows: Sequence[tuple[str, Sequence[tuple[str, npt.NDArray[np.uint8]]]]], title: str, path: Path
) -> None:
    """Draw rows of titled tiles.

    Args:
        rows: Name and tiles of each row: a title, and uint8 pixels of shape (H, W, 3); at least one tile
            in all.
        title: Text above them.
        path: The PNG file.
    """
    columns = max(len(tiles) for _, tiles in rows)
    figure = Figure(figsize=(max(4, 2.6 * columns), 2.95 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, tiles) in enumerate(rows):
        for axis in axes[row]:
            axis.set_axis_off()
        for axis, (caption, pixels) in zip(axes[row], tiles, strict=False):
            axis.imshow(pixels)
            axis.set_title(caption, fontsize=9)
        first = axes[row, 0]
        first.text(-0.04, 0.5, name, rotation=90, ha="right", va="center", transform=first.transAxes)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def draw_histogram(dice: npt.NDArray[np.float64], path: Path, paper_mean: float) -> None:
    """Draw the histogram of the per-image Dice of images with a pneumothorax.

    Args:
        dice: Shape (N,), N at least 1, values [0, 1].
        path: The PNG file.
        paper_mean: The paper's mean, drawn as a line for comparison.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.hist(dice, bins=np.linspace(0, 1, 21).tolist(), color="tab:blue", edgecolor="white")
    axis.axvline(float(dice.mean()), color="black", label=f"mean {dice.mean():.3f}")
    axis.axvline(
        paper_mean, color="tab:red", linestyle="--", label=f"the paper's mean {paper_mean:.3f} (soft)"
    )
    axis.set(xlabel="Dice of one image, at full size", ylabel="images", xlim=(-0.01, 1.01))
    axis.set_title(f"Dice on {counted(len(dice), 'image')} with a pneumothorax")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


def pick_cases(dice: npt.NDArray[np.float64], number: int) -> dict[str, npt.NDArray[np.int64]]:
    """Pick the best, the typical (around the median) and the worst of some images.

    Args:
        dice: Shape (N,).
        number: Number of images of each kind; fewer if there are fewer images.

    Returns:
        Row numbers by 'best', 'typical' and 'worst'; no image is in two of them.
    """
    order = np.argsort(-dice, kind="stable")
    number = min(number, max(1, len(order) // 3))
    best, rest = order[:number], order[number:]
    between, worst = np.split(rest, [max(len(rest) - number, 0)])
    middle = max((len(between) - number) // 2, 0)
    return {"best": best, "typical": between[middle : middle + number], "worst": worst[::-1]}


def outlined(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image at the size of a tile, its mask outlined, uint8 of shape (TILE, TILE, 3), RGB."""
    size = (TILE, TILE)
    tile = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    soft = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
    # Half of its own maximum: a small lesion never reaches half of 255 once shrunk.
    inside = (soft > soft.max() / 2).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, OUTLINE, 2)
    return cast(npt.NDArray[np.uint8], tile)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, in one step (see `atomic`)."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
