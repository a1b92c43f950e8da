"""Figures of the data: areas, positions, sides, rows of annotation, groups, patients and folds.

Each takes arrays or tables, such as those of a `Cache`, and returns a matplotlib figure; `explore` saves
some as pictures, `data_page` all as SVG. Knows nothing of files or networks.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from pneumothorax.explore.statistics import count_folds, count_shared
from pneumothorax.report.page_text import counted
from pneumothorax.report.svg import BLUE, GREEN, ORANGE

CHUNK = 64  # masks that are in memory at a time
SIZE = (5.6, 3.8)  # inches of most figures
FINEST = 256  # pixels, side of the heat map
LABEL = 12  # letters of a group's name

Images = npt.NDArray[np.uint8]


def draw_areas(areas: npt.NDArray[np.generic]) -> Figure:
    """Draw the histogram of the lesions' areas.

    Args:
        areas: Shape (N,), the area of each image's mask in pixels at 1024x1024; 0 if empty.
    """
    positive = np.asarray(areas, np.float64)
    positive = positive[positive > 0]
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    title = f"{counted(len(areas), 'image')}, {1 - len(positive) / max(len(areas), 1):.1%} empty"
    if len(positive):
        # Whole fifths of a decade, so that the bars mean the same areas on any data.
        low, high = np.floor(np.log10(positive.min()) * 5), np.floor(np.log10(positive.max()) * 5) + 1
        axis.hist(positive, bins=(10 ** (np.arange(low, high + 1) / 5)).tolist(), color=BLUE, ec="white")
        median = float(np.median(positive))
        axis.axvline(median, color=ORANGE, linestyle="--", linewidth=2)
        title += f"\nthe others' median area: {median:,.0f} pixels (dashed)"
    axis.set_xscale("log")
    _plain_log(axis.xaxis)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="area of one image's mask, in pixels at 1024x1024 (log scale)", ylabel="images")
    axis.set_title(title, fontsize=11)
    return figure


def draw_positions(masks: Images) -> Figure:
    """Draw the frequency of masks at each position, among the images whose mask is not empty.

    Args:
        masks: uint8 array of shape (N, S, S), soft masks 0-255, read in chunks: it may be memory-mapped.
    """
    total = np.zeros(masks.shape[1:], np.int64)
    positives = 0
    for start in range(0, len(masks), CHUNK):
        part = np.asarray(masks[start : start + CHUNK])
        positives += int(part.any(axis=(1, 2)).sum())
        total += part.sum(axis=0, dtype=np.int64)
    share = total / (255 * max(positives, 1))
    if len(share) > FINEST:
        share = np.asarray(cv2.resize(share, (FINEST, FINEST), interpolation=cv2.INTER_AREA), np.float64)
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
    return figure


def draw_counts(counts: Mapping[str, int], label: str) -> Figure:
    """Draw a few counts of images as bars.

    Args:
        counts: Counts by bar label, such as sides or numbers of rows.
        label: Label of the axis.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    bars = axis.bar(range(len(counts)), list(counts.values()), width=0.7, color=BLUE)
    axis.bar_label(bars, fmt="{:,.0f}", fontsize=9, padding=1)
    axis.set_xticks(range(len(counts)), list(counts))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(y=0.1)
    axis.set(xlabel=label, ylabel="images")
    return figure


def draw_group(table: pd.DataFrame, name: str, *, annotated: bool) -> Figure:
    """Draw the images of each view, sex or age, the positives at the bottom of each bar, and their share.

    Args:
        table: Columns images and positive, by group, as `census.count_groups` makes.
        name: Name of the grouping.
        annotated: Whether the labels of the images are known.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(table))
    bars = axis.bar(places, table["images"], width=0.75, color=BLUE, label="images")
    texts = [f"{count:,}" for count in table["images"]]
    if annotated:
        axis.bar(places, table["positive"], width=0.75, color=ORANGE, label="with a pneumothorax")
        texts = [f"{share:.0%}" for share in table["positive"] / table["images"]]
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axis.bar_label(bars, texts, fontsize=9, padding=1)
    # A tag may hold anything, including dollar signs and letters missing from all fonts.
    axis.set_xticks(places, [_printable(str(label)) for label in table.index], parse_math=False, fontsize=8)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlim(-0.7, max(len(table), 2) - 0.3)
    axis.margins(y=0.12)
    axis.set(xlabel=name, ylabel="images")
    return figure


def draw_patients(studies: pd.DataFrame) -> Figure:
    """Draw the distribution of images per patient.

    Args:
        studies: Table with the column patient, '' if unknown; such images are counted only in the title.
    """
    known = studies["patient"].fillna("").astype(str)
    images = known[known != ""].value_counts()
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    title = counted(len(images), "patient")
    if len(images):
        counts = images.value_counts()
        axis.bar(counts.index.to_numpy(), counts.to_numpy(), width=0.9, color=BLUE)
        several = int((images > 1).sum())
        title += f"\n{several:,} with several images; at most {counted(int(images.max()), 'image')}"
    if unknown := int((known == "").sum()):
        title += f"\n{counted(unknown, 'image')} of unknown patients"
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.5)  # room for a bar of 1
    _plain_log(axis.yaxis)
    axis.set_xlim(0.25, max(int(images.max()) if len(images) else 1, 4) + 0.75)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="images of one patient", ylabel="patients (log scale)")
    axis.set_title(title, fontsize=11)
    return figure


def draw_folds(studies: pd.DataFrame, fold_of_row: npt.NDArray[np.int64]) -> Figure:
    """Draw images, positives and patients of each fold, and the number of shared patients.

    Args:
        studies: Table of N rows with ImageId, patient ('' if unknown: a patient of its own) and area.
        fold_of_row: Shape (N,), the fold of each row.
    """
    folds = count_folds(studies, fold_of_row)
    parts = {"images": BLUE, "with a pneumothorax": ORANGE, "patients": GREEN}
    figure = Figure(figsize=(max(6.5, 1.7 * len(folds)), 4), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(folds))
    columns = ("images", "positive", "patients")
    for offset, column, (name, colour) in zip((-0.28, 0, 0.28), columns, parts.items(), strict=True):
        bars = axis.bar(places + offset, folds[column].to_numpy(), width=0.26, color=colour, label=name)
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=8, padding=1)
    axis.set_xticks(places, [f"fold {fold}" for fold in folds.index])
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(y=0.1)
    axis.set_ylabel("number")
    shared = count_shared(studies, fold_of_row)
    axis.set_title(f"{counted(shared, 'patient')} in more than one fold", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _plain_log(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, in steps of about three."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axis.set_minor_formatter(NullFormatter())


def _printable(text: str) -> str:
    """Return the beginning of a text, non-ASCII characters replaced."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:LABEL])
