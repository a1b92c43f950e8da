"""Run folders and cached images -> probabilities: the mean over the folds, keyed by row.

Reads size, scaling and network from each fold's own recipe, so that it cannot disagree with training.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data.batches import fixed_batches
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import Predictions, quantise, write_predictions
from pneumothorax.model.unet import build_model, load_weights
from pneumothorax.training import hardware
from pneumothorax.training.run import FoldFolder, read_recipe

PIXELS_IN_FLIGHT = 1 << 20  # of a batch's images together: 64 images of 128 pixels, 4 of 512


def load_fold(fold: FoldFolder) -> keras.Model:
    """Build a fold's network and load its best weights.

    Raises:
        UserError: The folder is incomplete, or its weights belong to another network.
    """
    recipe = read_recipe(fold)
    model = build_model(recipe, hardware.choose_precision(recipe.precision), trained=True)
    load_weights(model, fold.weights)
    return model


def predict_rows(
    models: list[keras.Model],
    cache: Cache,
    rows: Rows,
    folder: Path,
    title: str = "predict",
    *,
    flip: bool = False,
) -> Predictions:
    """Predict some rows of a cache by the mean of several networks, and write the result.

    Args:
        models: Networks of one input size.
        cache: The images.
        rows: Which of them, in the order of the result.
        folder: Where to.
        title: What the progress bar says.
        flip: Whether each network also sees the mirror images, and the mean of both counts.

    Raises:
        UserError: The networks want another size than the cache has.
    """
    size = cache.images.shape[1]
    for model in models:
        if model.input_shape[1] != size:
            raise UserError(
                f"images of {size} pixels for a network of {model.input_shape[1]}", "the same size"
            )
    batches = _probabilities(models, cache, rows, title, flip)
    return write_predictions(folder, batches, cache.studies.iloc[rows].reset_index(drop=True), size)


def _probabilities(
    models: list[keras.Model], cache: Cache, rows: Rows, title: str, flip: bool
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the quantised mean probability of each batch, uint8 of shape (B, S, S)."""
    size = cache.images.shape[1]
    with tqdm(total=len(rows), desc=title, unit="image") as bar:
        for batch in fixed_batches(rows, max(1, PIXELS_IN_FLIGHT // size**2)):
            images = np.asarray(cache.images[batch])[..., None]  # (B, S, S, 1)
            total = np.zeros(images.shape, np.float32)
            for model, step in itertools.product(models, (1, -1) if flip else (1,)):
                seen = model.predict_on_batch(np.ascontiguousarray(images[:, :, ::step]))
                total += keras.ops.convert_to_numpy(seen)[:, :, ::step]
            yield quantise(total[..., 0] / (len(models) * (1 + flip)))
            bar.update(len(batch))
