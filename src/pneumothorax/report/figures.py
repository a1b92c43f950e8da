"""The paper's figures: curves, histogram of per-image Dice, overlays of the best, typical and worst cases.

Draws what it is given; knows nothing of networks or run folders. Overlays: truth red, prediction green, both
yellow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.workspace import atomic

mpl.use("Agg")  # files only: works without a display
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

TILE = 320  # pixels of one case on a sheet
LEGEND = "truth red, prediction green, both yellow"


@dataclass(frozen=True)
class Case:
    """One evaluated image.

    Attributes:
        title: What stands above it.
        image: uint8 array of shape (H, W).
        truth: uint8 or bool mask of shape (H, W); None where it is not known.
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
        strength: Share of the tint in the colour of a pixel.

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
    width = max(1, case.image.shape[0] // 350)
    for mask, colour in ((truth, (255, 60, 60)), (prediction, (60, 255, 60))):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, width)
    return drawn


def draw_cases(groups: Mapping[str, Sequence[Case]], path: Path) -> None:
    """Draw one sheet of overlays, a row for each group of cases.

    Args:
        groups: Cases by the name of their row, such as 'best'.
        path: The PNG file.
    """
    shown = {name: cases for name, cases in groups.items() if cases}
    columns = max(len(cases) for cases in shown.values())
    figure, axes = plt.subplots(
        len(shown), columns, figsize=(2.6 * columns, 2.95 * len(shown)), squeeze=False, layout="constrained"
    )
    for row, (name, cases) in enumerate(shown.items()):
        for axis in axes[row]:
            axis.set_axis_off()
        for axis, case in zip(axes[row], cases, strict=False):
            tile = cv2.resize(overlay(case), (TILE, TILE), interpolation=cv2.INTER_AREA)
            axis.imshow(tile)
            axis.set_title(case.title, fontsize=8)
        axes[row, 0].text(
            -0.04, 0.5, name, rotation=90, ha="right", va="center", transform=axes[row, 0].transAxes
        )
    figure.suptitle(LEGEND, fontsize=9)
    _save(figure, path)


def draw_histogram(dice: npt.NDArray[np.float64], path: Path, paper_mean: float) -> None:
    """Draw the histogram of the per-image Dice of images with a pneumothorax.

    Args:
        dice: Shape (N,), values [0, 1].
        path: The PNG file.
        paper_mean: The paper's mean, as a line to compare with.
    """
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axis.hist(dice, bins=np.linspace(0, 1, 21).tolist(), color="tab:blue", edgecolor="white")
    axis.axvline(float(dice.mean()), color="black", label=f"mean {dice.mean():.3f}")
    axis.axvline(paper_mean, color="tab:red", linestyle="--", label=f"the paper's mean {paper_mean:.3f}")
    axis.set(xlabel="Dice of one image", ylabel="images", title=f"{len(dice)} images with a pneumothorax")
    axis.legend()
    _save(figure, path)


def draw_curves(histories: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw loss, Dice and learning rate by epoch, a colour for each fold, the best epoch marked.

    Args:
        histories: history.csv of each fold, by its name.
        path: The PNG file.
    """
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for number, (name, rows) in enumerate(histories.items()):
        colour = f"C{number}"
        for axis, column in ((axes[0], "loss"), (axes[1], "mean_dice")):
            axis.plot(rows["epoch"], rows[column], color=colour, alpha=0.45, label=f"{name}, training")
            axis.plot(rows["epoch"], rows[f"val_{column}"], color=colour, label=f"{name}, validation")
        best = rows.iloc[int(rows["val_mean_dice"].argmax())]
        axes[1].plot(
            best["epoch"], best["val_mean_dice"], "o", color=colour, label=f"best {best['val_mean_dice']:.3f}"
        )
        axes[2].plot(rows["epoch"], rows["learning_rate"], color=colour, label=name)
    for axis, title in zip(axes, ("loss", "mean soft Dice", "learning rate"), strict=True):
        axis.set(xlabel="epoch", title=title)
        axis.grid(alpha=0.3)
    axes[1].set_ylim(0, 1)
    axes[1].legend(fontsize=8)
    axes[2].set_yscale("log")
    _save(figure, path)


def pick_cases(dice: npt.NDArray[np.float64], number: int) -> dict[str, npt.NDArray[np.int64]]:
    """Pick the best, the typical (around the median) and the worst of some images.

    Args:
        dice: Shape (N,).
        number: How many of each; fewer where there are fewer images.

    Returns:
        Row numbers by 'best', 'typical' and 'worst'; no image is in two of them.
    """
    order = np.argsort(-dice, kind="stable")
    number = min(number, max(1, len(order) // 3))
    middle = max(number, (len(order) - number) // 2)
    worst = order[max(len(order) - number, 2 * number) :][::-1]
    return {"best": order[:number], "typical": order[middle : middle + number], "worst": worst}


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
