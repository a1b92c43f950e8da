"""Run folders and cached images -> probabilities: the mean over the folds, keyed by row.

Reads size, scaling and network from each fold's own recipe, so that it cannot disagree with training.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from pneumothorax.data.batches import fixed_batches
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import Floats, Maps, Predictions, quantise, write_predictions
from pneumothorax.model.unet import build_model, load_weights
from pneumothorax.training import hardware
from pneumothorax.training.run import REMEDY, FoldFolder, read_recipe

PIXELS_IN_FLIGHT = 1 << 20  # of a batch's images together: 64 images of 128 pixels, 4 of 512


def load_fold(fold: FoldFolder) -> keras.Model:
    """Build a fold's network and load its best weights.

    Raises:
        UserError: The folder is incomplete, or its weights are damaged or belong to another network.
    """
    recipe = read_recipe(fold)
    model = build_model(recipe, hardware.choose_precision(recipe.precision), trained=True)
    load_weights(model, fold.weights)
    for weight in model.weights:  # a layer may make 0 of NaN, and the output look like a healthy image's
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise UserError(f"{fold.weights} has no finite number in {weight.path}", "finite weights", REMEDY)
    model.folder = fold.path  # for `_see`, should its output be no number
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

    Networks that also tell how probable a pneumothorax is in the image leave that mean as its presence.

    Args:
        models: Networks of one input size.
        cache: The images.
        rows: Which of them, in the order of the result.
        folder: Where to.
        title: What the progress bar says.
        flip: Whether each network also sees the mirror images, and the mean of both counts.

    Raises:
        UserError: The networks want another size than the cache has, or only some of them tell a presence.
    """
    size = cache.images.shape[1]
    for model in models:
        if model.input_shape[1] != size:
            raise UserError(
                f"images of {size} pixels for a network of {model.input_shape[1]}", "the same size"
            )
    check_kinds(models)
    batches = _probabilities(models, cache, rows, title, flip)
    return write_predictions(folder, batches, cache.studies.iloc[rows].reset_index(drop=True), size)


def check_kinds(models: list[keras.Model]) -> None:
    """Make sure that all networks of a run tell a presence, or none.

    Raises:
        UserError: Only some of them do.
    """
    if len({isinstance(model.output, dict) for model in models}) > 1:
        raise UserError(
            "networks with an empty head and networks without", "one kind of network in all folds of a run"
        )


def _probabilities(
    models: list[keras.Model], cache: Cache, rows: Rows, title: str, flip: bool
) -> Iterator[Maps | tuple[Maps, Floats]]:
    """Yield the quantised mean probability of each batch, uint8 of shape (B, S, S), and its mean presence."""
    size = cache.images.shape[1]
    with tqdm(total=len(rows), desc=title, unit="image") as bar:
        for batch in fixed_batches(rows, max(1, PIXELS_IN_FLIGHT // size**2)):
            maps, presence = see(models, np.asarray(cache.images[batch]), flip=flip)
            yield maps if presence is None else (maps, presence)
            bar.update(len(batch))


def see(models: list[keras.Model], images: Maps, *, flip: bool) -> tuple[Maps, Floats | None]:
    """Return what several networks of one kind make of some images, in the mean.

    Args:
        models: Networks of the images' size.
        images: uint8 array of shape (B, S, S).
        flip: Whether each network also sees the mirror images.

    Returns:
        Quantised probabilities, uint8 of shape (B, S, S), and presences of shape (B,), None where the
        networks tell none.

    Raises:
        UserError: What a network tells is no finite number.
    """
    number = len(models) * (1 + flip)
    images = images[..., None]  # (B, S, S, 1)
    total, presence = np.zeros(images.shape, np.float32), np.zeros(len(images))
    for model, step in itertools.product(models, (1, -1) if flip else (1,)):
        seen, told = _see(model, np.ascontiguousarray(images[:, :, ::step]))
        total += seen[:, :, ::step]
        presence += 0.0 if told is None else told
    return quantise(total[..., 0] / number), None if told is None else presence / number


def _see(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a network's probabilities, shape (B, S, S, 1), and its presence, shape (B,), if it tells one.

    Raises:
        UserError: One of them is no finite number, as damaged weights make it.
    """
    seen: Any = hardware.predict_on_batch(model, images)
    arrays = seen if isinstance(seen, dict) else {"probability": seen}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            whose = getattr(model, "folder", model.name)
            raise UserError(
                f"the network of {whose} tells a {name} that is no finite number",
                "probabilities, of weights as they were trained",
                REMEDY,
            )
    return arrays["probability"], arrays["presence"][:, 0] if "presence" in arrays else None
