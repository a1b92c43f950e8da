"""Batches for Keras: the cache as a `keras.utils.PyDataset`, augmented by Keras' own layers."""

from typing import Any

import keras
import numpy as np

from pneumothorax.data.batches import Batch, epoch_batches, fixed_batches, gather
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.recipe import Recipe


class Feed(keras.utils.PyDataset):
    """Shuffled, augmented batches to train on.

    Every batch follows from (seed, epoch, number of the batch), so that nothing needs saving for a resume but
    the epoch.

    Args:
        cache: Images and masks.
        rows: Which of them.
        recipe: Batch size, seed and augmentation.
        first_epoch: The epoch that training begins with.
    """

    def __init__(self, cache: Cache, rows: Rows, recipe: Recipe, first_epoch: int = 0) -> None:
        super().__init__()
        self.cache, self.rows, self.recipe = cache, rows, recipe
        self.augmentation = make_augmentation(recipe) if recipe.augments else None
        self.begin(first_epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        images, masks = gather(self.cache, self.batches[number])
        if self.augmentation is None:
            return images, masks
        return augment(self.augmentation, images, masks, [self.recipe.seed, self.epoch, number])

    def begin(self, epoch: int) -> None:
        """Draw an epoch's order.

        Training calls it, for Keras' own `on_epoch_end` also comes between epochs.
        """
        self.epoch = epoch
        self.batches = epoch_batches(self.rows, self.recipe.batch_size, seed=self.recipe.seed, epoch=epoch)


class FixedFeed(keras.utils.PyDataset):
    """The same batches every time, not augmented, to validate or predict on."""

    def __init__(self, cache: Cache, rows: Rows, batch_size: int) -> None:
        super().__init__()
        self.cache, self.batches = cache, fixed_batches(rows, batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return gather(self.cache, self.batches[number])


def make_augmentation(recipe: Recipe) -> list[keras.Layer]:
    """Build the Keras layers that the recipe switches on; what leaves the frame is filled with black."""
    edges: dict[str, Any] = {"fill_mode": "constant", "fill_value": 0.0}
    degrees, share = recipe.rotation_degrees / 360, recipe.shift
    layers: list[tuple[Any, keras.Layer]] = [
        (recipe.flip, keras.layers.RandomFlip("horizontal")),
        (degrees, keras.layers.RandomRotation(degrees, **edges)),
        (share, keras.layers.RandomTranslation(share, share, **edges)),
        (recipe.zoom, keras.layers.RandomZoom(recipe.zoom, **edges)),
        (recipe.brightness, keras.layers.RandomBrightness(recipe.brightness, value_range=(0, 255))),
        (recipe.contrast, keras.layers.RandomContrast(recipe.contrast, value_range=(0, 255))),
    ]
    return [layer for wanted, layer in layers if wanted]


def augment(layers: list[keras.Layer], images: np.ndarray, masks: np.ndarray, seed: list[int]) -> Batch:
    """Change images and masks alike, by random numbers that follow from the seed.

    Args:
        layers: From `make_augmentation`.
        images: uint8 array of shape (B, S, S, 1).
        masks: float32 array of shape (B, S, S, 1), values [0, 1].
        seed: Any numbers.

    Returns:
        Images and masks of the same shapes and types.
    """
    draws = np.random.default_rng(seed).integers(0, 2**31 - 1, size=len(layers))
    changed, labels = keras.ops.convert_to_tensor(images, "float32"), keras.ops.convert_to_tensor(masks)
    for layer, draw in zip(layers, draws.tolist(), strict=True):
        drawn = layer.get_random_transformation({"images": changed}, training=True, seed=draw)
        changed = layer.transform_images(changed, drawn, training=True)
        labels = layer.transform_segmentation_masks(labels, drawn, training=True)
    grey = keras.ops.convert_to_numpy(changed).round().clip(0, 255).astype(np.uint8)
    return grey, keras.ops.convert_to_numpy(labels).astype(np.float32)
