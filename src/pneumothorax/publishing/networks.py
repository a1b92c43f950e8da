"""The weights of trained folds, as they are published: the network's alone, and those of an encoder.

A fold's own file also holds the optimiser's state, twice the size of the network.
"""

from pathlib import Path

import keras
import numpy as np

import pneumothorax.model.devices  # noqa: F401  # pins Keras' settings
from pneumothorax.errors import UserError
from pneumothorax.legs import last_leg
from pneumothorax.model.architectures import build_encoder, find_encoder
from pneumothorax.model.unet import build_model, load_weights, save_weights
from pneumothorax.training.fold_folder import REMEDY, FoldFolder, read_recipe


def save_network(fold: FoldFolder, path: Path, encoder: Path | None = None) -> None:
    """Write the weights of a fold without the optimiser's state.

    Args:
        fold: The trained fold.
        path: A file name ending in ``.weights.h5``.
        encoder: Another, for the encoder alone in the layout of `model.encoders.weights_file`; not written
            where the network uses a part of its encoder (PSPNet).

    Raises:
        UserError: The weights are damaged or of another network.
    """
    recipe = last_leg(read_recipe(fold))
    model = build_model(recipe, trained=True, portable=True)
    load_weights(model, fold.weights)
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise UserError(f"{fold.weights} has no finite number in {weight.path}", "finite weights", REMEDY)
    save_weights(model, path)
    networks = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if encoder is None or not networks:
        return
    whole, part = build_encoder(recipe)
    if len(part.weights) == len(whole.weights):
        whole.set_weights(find_encoder(networks[0]).get_weights())
        save_weights(whole, encoder)
