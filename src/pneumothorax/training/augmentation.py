"""Augmentation: images and masks changed alike, by random draws that depend on a seed alone.

Tone by Keras' layers. Geometry is one resampling of ours (`data/warp.py`): Keras' layers would resample once
each; its elastic layer moves along a diagonal alone and folds tissue over itself (3.15: dx and dy share a
seed); and its shifts are diagonal, for the same reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np

from pneumothorax.data.batches import Batch
from pneumothorax.data.warp import warp
from pneumothorax.model.devices import name_cpu
from pneumothorax.recipe import Recipe

KEPT = 0.2  # share of its area that the mask of a positive must keep in the view
TRIES = 8  # draws before an image is left where it was

Draw = Callable[[np.ndarray, np.ndarray, list[int]], Batch]


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a recipe.

    Attributes:
        recipe: Recipe with its ranges and shares.
        tone: Keras' preprocessing layers, or objects with their methods, that change grey values.
    """

    recipe: Recipe
    tone: list[Any]


class RandomGamma:
    """Raise grey values to a power between 1 / (1 + factor) and 1 + factor, in the style of Keras' layers.

    Brighter is as likely as darker. Keras 3.15 has no such layer, and its base class is not public.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def get_random_transformation(self, data: dict[str, Any], training: bool, seed: int) -> Any:
        """Draw one power for each image."""
        shape = (keras.ops.shape(data["images"])[0], 1, 1, 1)
        return (1 + self.factor) ** keras.random.uniform(shape, -1, 1, seed=seed)

    def transform_images(self, images: Any, power: Any, training: bool) -> Any:
        """Change images of values 0-255."""
        return 255 * (images / 255) ** power


def make_augmentation(recipe: Recipe) -> Augmentation:
    """Build the augmentations that the recipe switches on."""
    layers = [
        (recipe.brightness, keras.layers.RandomBrightness(recipe.brightness, value_range=(0, 255))),
        (recipe.contrast, keras.layers.RandomContrast(recipe.contrast, value_range=(0, 255))),
        (recipe.gamma, RandomGamma(recipe.gamma)),
    ]
    return Augmentation(recipe, [layer for wanted, layer in layers if wanted])


def augment(augmentation: Augmentation, images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    """Change images and masks alike, by random numbers that depend on the seed.

    Pixels from beyond the frame are black. A positive whose mask would keep less than `KEPT` of its area
    in the view is drawn again, and left unmoved after `TRIES` draws.

    Args:
        augmentation: Result of `make_augmentation`.
        images: uint8 array of shape (B, S, S, 1).
        masks: float32 array of shape (B, S, S, 1), values [0, 1].
        seed: Any numbers.

    Returns:
        Images and masks of the same shapes and types.
    """
    # Before the geometry, or the black beyond the frame would become grey.
    toned = _change_tone(augmentation, images, seed)
    return _keep_in_view(lambda *batch: _move(augmentation.recipe, *batch), toned, masks, seed)


def _keep_in_view(draw: Draw, images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    """Draw, and redraw images that lose their mask."""
    changed, labels = draw(images, masks, seed)
    least = KEPT * masks.sum(axis=(1, 2, 3))
    for again in range(1, TRIES + 1):
        lost = np.flatnonzero(labels.sum(axis=(1, 2, 3)) < least)
        if not len(lost):
            break
        if again < TRIES:
            changed[lost], labels[lost] = draw(images[lost], masks[lost], [*seed, again])
        else:
            changed[lost], labels[lost] = images[lost], masks[lost]
    return changed, labels


def _move(recipe: Recipe, images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    return warp(recipe, images, masks, np.random.default_rng([*seed, *b"move"]))  # apart from the tone's


def _change_tone(augmentation: Augmentation, images: np.ndarray, seed: list[int]) -> np.ndarray:
    """Change the grey values of some images, and leave those of the others exactly as they were.

    All 256 grey values go through the layers instead of an image's pixels, which is much faster.
    Contrast therefore turns about the middle of the range, and not about the image's mean.
    """
    if not augmentation.tone:
        return images
    generator = np.random.default_rng([*seed, *b"tone"])
    chosen = np.flatnonzero(generator.random(len(images)) < augmentation.recipe.tone_share)
    greys = np.tile(np.arange(256, dtype=np.float32).reshape(16, 16, 1), (len(images), 1, 1, 1))
    with keras.device(name_cpu()):  # the accelerator trains meanwhile
        changed = keras.ops.convert_to_tensor(greys)
        for layer in augmentation.tone:
            draw = int(generator.integers(0, 2**31 - 1))
            drawn = layer.get_random_transformation({"images": changed}, training=True, seed=draw)
            changed = layer.transform_images(changed, drawn, training=True)
        tables = keras.ops.convert_to_numpy(changed).round().clip(0, 255).astype(np.uint8).reshape(-1, 256)
    toned = images.copy()
    for row in chosen:
        toned[row, ..., 0] = cv2.LUT(images[row, ..., 0], tables[row])
    return toned
