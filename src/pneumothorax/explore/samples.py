"""Samples of the data: some images with a pneumothorax, outlined, and some without one."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pneumothorax.report.figures import draw_sheet, outlined
from pneumothorax.report.page_text import shorten

COLUMNS = 4  # tiles in a row of samples

Images = npt.NDArray[np.uint8]


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
