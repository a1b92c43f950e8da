"""Pictures of the data for a notebook: areas, positions, samples, patients and folds; the counts as text.

The figures are those of `data_charts`, written as PNG files; knows nothing of networks. Colours are Okabe and
Ito's, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/).
"""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.report import data_charts
from pneumothorax.report.figures import TILE, draw_sheet, save_figure
from pneumothorax.report.wording import shorten

OUTLINE = (255, 176, 0)  # RGB; bright against any grey
COLUMNS = 4  # tiles in a row of samples

Images = npt.NDArray[np.uint8]
Fact = tuple[str, int, str]  # what was counted, the number, and its unit or share


def draw_areas(areas: npt.NDArray[np.generic], path: Path) -> None:
    """Write the histogram of the lesions' areas (see `data_charts`) as a PNG file."""
    save_figure(data_charts.draw_areas(areas), path)


def draw_positions(masks: Images, path: Path) -> None:
    """Write the heat map of the masks' positions (see `data_charts`) as a PNG file."""
    save_figure(data_charts.draw_positions(masks), path)


def draw_patients(studies: pd.DataFrame, path: Path) -> None:
    """Write how many images the patients have (see `data_charts`) as a PNG file."""
    save_figure(data_charts.draw_patients(studies), path)


def draw_folds(studies: pd.DataFrame, fold_of_row: npt.NDArray[np.int64], path: Path) -> None:
    """Write what each fold holds (see `data_charts`) as a PNG file."""
    save_figure(data_charts.draw_folds(studies, fold_of_row), path)


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
    named = np.asarray(names)
    rows = []
    for name, found in choose_samples(masks, number, seed).items():
        for start in range(0, len(found), COLUMNS):
            part = found[start : start + COLUMNS]
            tiles = [(shorten(str(named[row])), outlined(images[row], masks[row])) for row in part]
            rows.append((name, tiles))
    draw_sheet(rows, "the mask's outline in orange", path)


def choose_samples(masks: Images, number: int, seed: int) -> dict[str, list[int]]:
    """Choose some images with a pneumothorax and some without one, `number` of either at most."""
    chosen: dict[str, list[int]] = {"pneumothorax": [], "no pneumothorax": []}
    for row in np.random.default_rng(seed).permutation(len(masks)):
        kind = chosen["pneumothorax" if masks[row].any() else "no pneumothorax"]
        if len(kind) < number:
            kind.append(int(row))
        if all(len(kind) == number for kind in chosen.values()):
            break
    return chosen


def describe(studies: pd.DataFrame) -> str:
    """Return the counts of some studies as an aligned text table (see `count_facts`)."""
    rows = count_facts(studies)
    wide, long = max(len(name) for name, *_ in rows), max(len(f"{count:,}") for _, count, _ in rows)
    return "\n".join(f"{name:<{wide}}  {count:>{long},}  {note}".rstrip() for name, count, note in rows)


def count_facts(studies: pd.DataFrame) -> list[Fact]:
    """Count images, positives, patients, areas and views.

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
    return rows


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


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
