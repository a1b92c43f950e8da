"""Augmentation: images and masks changed alike, by draws that follow from a seed alone.

Tone by Keras' layers. Geometry is one resampling of ours (`data/warp.py`): Keras' layers would resample once
each; its elastic layer moves along a diagonal alone and folds tissue over itself (3.15: dx and dy share a
seed); and its shifts are diagonal, for the same reason. Recipes with none of the newer fields keep Keras'
geometry, and so their results.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np

from pneumothorax.data.batches import Batch
from pneumothorax.data.warp import warp
from pneumothorax.recipe import Recipe

KEPT = 0.2  # share of its area that the mask of a positive must keep in the view
TRIES = 8  # draws before an image is left where it was

Draw = Callable[[np.ndarray, np.ndarray, list[int]], Batch]


@dataclass(frozen=True)
class Augmentation:
    """What a recipe does to images.

    Attributes:
        recipe: Its ranges and shares.
        layers: Keras' preprocessing layers, or what has the methods of one.
        in_turn: Whether these layers are all there is, one after another on every image; else they change
            the tone alone.
    """

    recipe: Recipe
    layers: list[Any]
    in_turn: bool


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
    """Build what the recipe switches on."""
    newer = recipe.gamma or recipe.elastic or recipe.geometry_share < 1 or recipe.tone_share < 1
    layers = _tone(recipe) if newer else _geometry(recipe) + _tone(recipe)
    return Augmentation(recipe, layers, in_turn=not newer)


def augment(augmentation: Augmentation, images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    """Change images and masks alike, by random numbers that follow from the seed.

    What leaves the frame is filled with black. A positive whose mask would keep less than `KEPT` of its area
    in the view is drawn again, and left where it was after `TRIES` draws.

    Args:
        augmentation: From `make_augmentation`.
        images: uint8 array of shape (B, S, S, 1).
        masks: float32 array of shape (B, S, S, 1), values [0, 1].
        seed: Any numbers.

    Returns:
        Images and masks of the same shapes and types.
    """
    if augmentation.in_turn:
        return _keep_in_view(lambda *batch: _apply_in_turn(augmentation.layers, *batch), images, masks, seed)
    # Before the geometry, or what is black beyond the frame would become grey.
    toned = _change_tone(augmentation, images, seed)
    return _keep_in_view(lambda *batch: _move(augmentation.recipe, *batch), toned, masks, seed)


def _keep_in_view(draw: Draw, images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    """Draw, and draw again those whose mask was lost."""
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

    All 256 grey values go through the layers in the place of an image's pixels, which is much quicker.
    Contrast therefore turns about the middle of the range, and not about the image's mean.
    """
    if not augmentation.layers:
        return images
    generator = np.random.default_rng([*seed, *b"tone"])
    chosen = np.flatnonzero(generator.random(len(images)) < augmentation.recipe.tone_share)
    greys = np.tile(np.arange(256, dtype=np.float32).reshape(16, 16, 1), (len(images), 1, 1, 1))
    with keras.device("cpu:0"):  # the accelerator trains meanwhile
        changed = keras.ops.convert_to_tensor(greys)
        for layer, drawn in _draw(augmentation.layers, changed, generator):
            changed = layer.transform_images(changed, drawn, training=True)
        tables = _to_grey(changed).reshape(-1, 256)
    toned = images.copy()
    for row in chosen:
        toned[row, ..., 0] = cv2.LUT(images[row, ..., 0], tables[row])
    return toned


def _apply_in_turn(layers: list[Any], images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    """Let each layer change every image, and its mask by the nearest neighbour."""
    changed, labels = keras.ops.convert_to_tensor(images, "float32"), keras.ops.convert_to_tensor(masks)
    for layer, drawn in _draw(layers, changed, np.random.default_rng(seed)):
        changed = layer.transform_images(changed, drawn, training=True)
        labels = layer.transform_segmentation_masks(labels, drawn, training=True)
    return _to_grey(changed), np.array(keras.ops.convert_to_numpy(labels), np.float32)


def _draw(layers: list[Any], images: Any, generator: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Yield each layer with what it draws for images of this shape."""
    seeds = generator.integers(0, 2**31 - 1, size=len(layers)).tolist()
    for layer, seed in zip(layers, seeds, strict=True):
        yield layer, layer.get_random_transformation({"images": images}, training=True, seed=seed)


def _to_grey(images: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(images).round().clip(0, 255).astype(np.uint8)


def _geometry(recipe: Recipe) -> list[Any]:
    """Make the Keras layers that move pixels; what leaves the frame is filled with black."""
    edges: dict[str, Any] = {"fill_mode": "constant", "fill_value": 0.0}
    degrees, share = recipe.rotation_degrees / 360, recipe.shift
    layers = [
        (recipe.flip, keras.layers.RandomFlip("horizontal")),
        (degrees, keras.layers.RandomRotation(degrees, **edges)),
        (share, keras.layers.RandomTranslation(share, share, **edges)),
        (recipe.zoom, keras.layers.RandomZoom(recipe.zoom, **edges)),
    ]
    return [layer for wanted, layer in layers if wanted]


def _tone(recipe: Recipe) -> list[Any]:
    """Make the layers that change grey values."""
    layers = [
        (recipe.brightness, keras.layers.RandomBrightness(recipe.brightness, value_range=(0, 255))),
        (recipe.contrast, keras.layers.RandomContrast(recipe.contrast, value_range=(0, 255))),
        (recipe.gamma, RandomGamma(recipe.gamma)),
    ]
    return [layer for wanted, layer in layers if wanted]
