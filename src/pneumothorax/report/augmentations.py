"""Augmentation preview: original studies, training's draws of them, and each augmentation alone.

Draws arrays only; knows nothing of networks or of the augmentation itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pneumothorax.recipe import Recipe
from pneumothorax.report.figures import draw_sheet, outlined
from pneumothorax.report.page_text import shorten

COLUMNS = 8  # tiles in a row: an original and seven draws

Tile = tuple[str, npt.NDArray[np.uint8]]


class View(Protocol):
    """An image and its mask."""

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """Grey values, of shape (S, S)."""

    @property
    def mask(self) -> npt.NDArray[np.float32]:
        """Mask of the same shape, values [0, 1]."""


def draw_augmentations(
    recipe: Recipe,
    studies: Mapping[str, tuple[View, Sequence[View]]],
    extremes: Mapping[str, Sequence[View]],
    path: Path,
) -> None:
    """Draw the sheet.

    Args:
        recipe: Recipe of the augmentation, shown above the sheet.
        studies: By the name of each study: the original, and its draws.
        extremes: Draws of the first study, by the only augmentation applied.
        path: The PNG file.
    """
    rows: list[tuple[str, Sequence[Tile]]] = []
    for name, (original, draws) in studies.items():
        kind = "pneumothorax" if original.mask.any() else "no pneumothorax"
        rows.append(
            (kind, [_tile(shorten(name), original), *(_tile(_kept(original, view), view) for view in draws)])
        )
    first = next(iter(studies.values()))[0]
    alone = [_tile(_value(recipe, name), view) for name, views in extremes.items() for view in views]
    tiles = [_tile("as it is", first), *alone]
    rows += [("one part alone", tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)]
    draw_sheet(rows, describe(recipe), path)


def describe(recipe: Recipe) -> str:
    """Name the recipe's augmentation in a few lines, with its values."""
    lines = [f"recipe {recipe.name} at {recipe.size} pixels; the mask's outline in orange"]
    for share, names in (
        (recipe.geometry_share, ("rotation_degrees", "shift", "zoom", "elastic")),
        (recipe.tone_share, ("brightness", "contrast", "gamma")),
    ):
        values = ", ".join(_value(recipe, name) for name in names if getattr(recipe, name))
        if values:
            lines.append(f"{share:.0%} of the images: {values}")
    if recipe.flip:
        lines.append("one in two: flip")
    return "\n".join(lines)


def _value(recipe: Recipe, name: str) -> str:
    value = getattr(recipe, name)
    return name if value is True else f"{name.replace('_', ' ')} {value:g}"


def _kept(original: View, view: View) -> str:
    """Return the share of the mask that is left, above 100 % if the image grew, as text."""
    area = float(original.mask.sum())
    return f"{float(view.mask.sum()) / area:.0%} of the mask" if area else ""


def _tile(title: str, view: View) -> Tile:
    return title, outlined(view.image, np.rint(view.mask * 255).astype(np.uint8))
