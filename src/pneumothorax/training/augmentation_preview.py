"""Augmentation preview: draws as in training, and each augmentation alone.

Returns arrays; `report/augmentations.py` draws them.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pneumothorax.recipe import Recipe
from pneumothorax.training.augmentation import augment, make_augmentation

TRIALS = 64  # draws of one augmentation; the strongest are shown
GEOMETRY = ("rotation_degrees", "shift", "zoom", "elastic")
TONE = ("brightness", "contrast", "gamma")
INGREDIENTS = ("flip", *GEOMETRY, *TONE)


@dataclass(frozen=True)
class View:
    """One augmented image.

    Attributes:
        image: uint8 array of shape (S, S).
        mask: float32 array of shape (S, S), values [0, 1].
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.float32]


def draw_views(recipe: Recipe, images: np.ndarray, masks: np.ndarray, draws: int) -> list[list[View]]:
    """Draw each image several times.

    Args:
        recipe: Recipe of the augmentation.
        images: uint8 array of shape (B, S, S, 1).
        masks: float32 array of shape (B, S, S, 1), values [0, 1].
        draws: Number of draws of each.

    Returns:
        For each image its draws.
    """
    augmentation = make_augmentation(recipe)
    drawn = [_views(*augment(augmentation, images, masks, [recipe.seed, draw])) for draw in range(draws)]
    return [list(views) for views in zip(*drawn, strict=True)]


def draw_extremes(recipe: Recipe, image: np.ndarray, mask: np.ndarray) -> dict[str, list[View]]:
    """Draw one image by each augmentation alone, at its strongest.

    Args:
        recipe: Recipe of the augmentation.
        image: uint8 array of shape (S, S, 1).
        mask: float32 array of shape (S, S, 1).

    Returns:
        By the name of each augmentation that is switched on: of many draws the one that changes the image
        most, and the one that differs most from that. A mirror image has no such opposite.
    """
    images, masks = (np.repeat(part[None], TRIALS, axis=0) for part in (image, mask))
    extremes = {}
    for name in INGREDIENTS:
        if not getattr(recipe, name):
            continue
        alone = replace(
            recipe, **{other: type(getattr(recipe, other))(0) for other in INGREDIENTS if other != name}
        )
        views = _views(*augment(make_augmentation(alone), images, masks, [recipe.seed]))
        most = _furthest(views, image[..., 0])
        extremes[name] = [most] if name == "flip" else [most, _furthest(views, most.image)]
    return extremes


def _views(images: np.ndarray, masks: np.ndarray) -> list[View]:
    return [View(image[..., 0], mask[..., 0]) for image, mask in zip(images, masks, strict=True)]


def _furthest(views: list[View], image: np.ndarray) -> View:
    """Return the view that differs most from an image."""
    return max(views, key=lambda view: float(np.abs(view.image.astype(np.float32) - image).mean()))
