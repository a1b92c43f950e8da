"""Sheet of sample images: some with a pneumothorax, outlined, and some without one."""

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
        names: Shape (N,), title of each image; of a long one its end is shown.
        path: The PNG file.
        number: Number of either kind, at most.
        seed: Random seed.
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
    """Choose up to `number` images with a pneumothorax, and as many without one."""
    chosen: dict[str, list[int]] = {"pneumothorax": [], "no pneumothorax": []}
    for row in np.random.default_rng(seed).permutation(len(masks)):
        kind = chosen["pneumothorax" if masks[row].any() else "no pneumothorax"]
        if len(kind) < number:
            kind.append(int(row))
        if all(len(kind) == number for kind in chosen.values()):
            break
    return chosen
