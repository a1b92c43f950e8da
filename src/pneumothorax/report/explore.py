"""Figures of the data: areas, positions, samples, patients and folds; and the counts as text.

Draws arrays and tables that it is given, such as those of a `Cache`; knows nothing of files or networks.
Colours are Okabe and Ito's, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/).
"""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from pneumothorax.report.figures import TILE, counted, draw_sheet, save_figure

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
OUTLINE = (255, 176, 0)  # RGB; bright against any grey
COLUMNS = 4  # tiles in a row of samples
CHUNK = 64  # masks that are in memory at a time

Images = npt.NDArray[np.uint8]


def draw_areas(areas: npt.NDArray[np.generic], path: Path) -> None:
    """Draw the histogram of the lesions' areas.

    Args:
        areas: Shape (N,), the area of each image's mask in pixels at 1024x1024; 0 where it is empty.
        path: The PNG file.
    """
    positive = np.asarray(areas, np.float64)
    positive = positive[positive > 0]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    title = f"{counted(len(areas), 'image')}, {1 - len(positive) / max(len(areas), 1):.1%} empty"
    if len(positive):
        # Whole fifths of a decade, so that the bars mean the same areas on any data.
        low, high = np.floor(np.log10(positive.min()) * 5), np.floor(np.log10(positive.max()) * 5) + 1
        axis.hist(positive, bins=(10 ** (np.arange(low, high + 1) / 5)).tolist(), color=BLUE, ec="white")
        median = float(np.median(positive))
        axis.axvline(median, color=ORANGE, linestyle="--", linewidth=2)
        title += f"; the others' median area: {median:,.0f} pixels (dashed)"
    axis.set_xscale("log")
    _plain_log(axis.xaxis)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="area of one image's mask, in pixels at 1024x1024 (log scale)", ylabel="images")
    axis.set_title(title, fontsize=11)
    save_figure(figure, path)


def draw_positions(masks: Images, path: Path) -> None:
    """Draw how often masks cover each place, among the images whose mask is not empty.

    Args:
        masks: uint8 array of shape (N, S, S), soft masks 0-255, read in pieces: it may be memory-mapped.
        path: The PNG file.
    """
    total = np.zeros(masks.shape[1:], np.int64)
    positives = 0
    for start in range(0, len(masks), CHUNK):
        part = np.asarray(masks[start : start + CHUNK])
        positives += int(part.any(axis=(1, 2)).sum())
        total += part.sum(axis=0, dtype=np.int64)
    share = total / (255 * max(positives, 1))
    figure = Figure(figsize=(6.4, 5.8), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(share, cmap="viridis", vmin=0, vmax=max(float(share.max()), 0.01))
    bar = figure.colorbar(shown, ax=axis, shrink=0.9, format=PercentFormatter(1))
    bar.set_label("share of these images whose mask covers the place")
    axis.set(xticks=[], yticks=[])
    for x, side, other in ((0.0, "left", "right"), (1.0, "right", "left")):
        text = f"image {side} =\npatient's {other}"
        axis.text(x, -0.02, text, ha=side, va="top", transform=axis.transAxes)
    axis.set_title(f"Where {counted(positives, 'image')} with a pneumothorax have it", fontsize=11)
    save_figure(figure, path)


def draw_samples(
    images: Images, masks: Images, names: npt.ArrayLike, path: Path, number: int = 8, seed: int = 0
) -> None:
    """Draw some images with a pneumothorax, outlined, and some without one.

    Args:
        images: uint8 array of shape (N, S, S), N at least 1; it may be memory-mapped.
        masks: uint8 array of shape (N, S, S), soft masks 0-255.
        names: Shape (N,), what stands above each; of a long one its end.
        path: The PNG file.
        number: How many of either kind, at most.
        seed: Another draws others.
    """
    chosen: dict[str, list[int]] = {"pneumothorax": [], "no pneumothorax": []}
    for row in np.random.default_rng(seed).permutation(len(masks)):
        kind = chosen["pneumothorax" if masks[row].any() else "no pneumothorax"]
        if len(kind) < number:
            kind.append(int(row))
        if all(len(kind) == number for kind in chosen.values()):
            break
    named = np.asarray(names)
    rows = []
    for name, found in chosen.items():
        for start in range(0, len(found), COLUMNS):
            part = found[start : start + COLUMNS]
            tiles = [(shorten(str(named[row])), outlined(images[row], masks[row])) for row in part]
            rows.append((name, tiles))
    draw_sheet(rows, "the mask's outline in orange", path)


def draw_patients(studies: pd.DataFrame, path: Path) -> None:
    """Draw how many images the patients have.

    Args:
        studies: Table with the column patient, '' where unknown; such images are counted in the title alone.
        path: The PNG file.
    """
    known = studies["patient"].fillna("").astype(str)
    images = known[known != ""].value_counts()
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    title = counted(len(images), "patient")
    if len(images):
        counts = images.value_counts()
        axis.bar(counts.index.to_numpy(), counts.to_numpy(), width=0.9, color=BLUE)
        several = int((images > 1).sum())
        title += f", {several:,} with several images; at most {counted(int(images.max()), 'image')}"
    if unknown := int((known == "").sum()):
        title += f"\n{counted(unknown, 'image')} of unknown patients"
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.5)  # room for a bar of 1
    _plain_log(axis.yaxis)
    axis.set_xlim(0.25, max(int(images.max()) if len(images) else 1, 4) + 0.75)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="images of one patient", ylabel="patients (log scale)")
    axis.set_title(title, fontsize=11)
    save_figure(figure, path)


def draw_folds(studies: pd.DataFrame, fold_of_row: npt.NDArray[np.int64], path: Path) -> None:
    """Draw images, positives and patients of each fold, and say whether folds share patients.

    Args:
        studies: Table of N rows with ImageId, patient ('' where unknown: a patient of its own) and area.
        fold_of_row: Shape (N,), the fold of each row.
        path: The PNG file.
    """
    rows = pd.DataFrame(
        {
            "fold": np.asarray(fold_of_row),
            "positive": studies["area"].to_numpy() > 0,
            "patient": _patients(studies).to_numpy(),
        }
    )
    folds = rows.groupby("fold")
    parts = {
        "images": (folds.size(), BLUE),
        "with a pneumothorax": (folds["positive"].sum(), ORANGE),
        "patients": (folds["patient"].nunique(), GREEN),
    }
    shared = int((rows.groupby("patient")["fold"].nunique() > 1).sum())
    figure = Figure(figsize=(max(6.5, 1.7 * len(folds)), 4), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(folds))
    for offset, (name, (counts, colour)) in zip((-0.28, 0, 0.28), parts.items(), strict=True):
        bars = axis.bar(places + offset, counts.to_numpy(), width=0.26, color=colour, label=name)
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=8, padding=1)
    axis.set_xticks(places, [f"fold {fold}" for fold in folds.groups])
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(y=0.1)
    axis.set_ylabel("number")
    axis.set_title(f"{counted(shared, 'patient')} in more than one fold", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


def describe(studies: pd.DataFrame) -> str:
    """Return the counts of some studies as an aligned text table.

    Args:
        studies: Table with patient, view (both '' where unknown) and area in pixels at 1024x1024.
    """
    number = len(studies)
    areas = studies["area"].to_numpy()
    positive = areas[areas > 0]
    known = studies["patient"].fillna("").astype(str)
    rows = [
        ("images", number, ""),
        ("with a pneumothorax", len(positive), _share(len(positive), number)),
        ("patients", known[known != ""].nunique(), ""),
    ]
    if unknown := int((known == "").sum()):
        rows.append(("images of unknown patients", unknown, _share(unknown, number)))
    if len(positive):
        for name, value in (
            ("median", np.median(positive)),
            ("mean", positive.mean()),
            ("largest", positive.max()),
        ):
            rows.append((f"{name} area", round(float(value)), "pixels at 1024x1024"))
    views = studies["view"].fillna("").astype(str).value_counts().sort_index()
    if list(views.index) != [""]:
        rows += [
            (f"view {name or 'unknown'}", int(count), _share(count, number)) for name, count in views.items()
        ]
    wide, long = max(len(name) for name, *_ in rows), max(len(f"{count:,}") for _, count, _ in rows)
    return "\n".join(f"{name:<{wide}}  {count:>{long},}  {note}".rstrip() for name, count, note in rows)


def _patients(studies: pd.DataFrame) -> pd.Series:
    """Return the patient of each study; one that is not known is another for each image."""
    names = studies["patient"].astype(object).fillna("").astype(str)
    return names.where(names != "", studies["ImageId"])


def outlined(image: Images, mask: Images) -> Images:
    """Return an image at the size of a tile, its mask outlined, uint8 of shape (TILE, TILE, 3), RGB."""
    size = (TILE, TILE)
    tile = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    soft = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
    # Half of its own most, for a small lesion is nowhere half of 255 once it is shrunk.
    inside = (soft > soft.max() / 2).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, OUTLINE, 2)
    return cast(Images, tile)


def _plain_log(axis: Axis) -> None:
    """Label a logarithmic axis with numbers as a person writes them, in steps of about three."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axis.set_minor_formatter(NullFormatter())


def shorten(name: str) -> str:
    """Return a name, or of a long one its end."""
    return name if len(name) <= 24 else f"...{name[-21:].lstrip('.')}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
