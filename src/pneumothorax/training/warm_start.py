"""Warm start: initialise from the same fold of another run, or from the leg before.

The sizes and the heads of the two networks may differ, so that one trained at 256 pixels resumes at 512.
"""

from dataclasses import replace

import keras
import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.model.unet import build_model, load_weights
from pneumothorax.recipe import Recipe
from pneumothorax.training import hosts
from pneumothorax.training.fold_folder import FoldFolder, read_recipe
from pneumothorax.training.state import load_state

# Fields that both runs must share: the network, and the held-out images.
_SAME = ("architecture", "encoder", "decoder_filters", "split", "fold_count", "seed")


def find_beginning(recipe: Recipe, fold: FoldFolder) -> FoldFolder | None:
    """Find the fold whose weights a fold begins with; None if the recipe names no run.

    Raises:
        UserError: The run, or this fold of it, is not there or has not finished; its network is another; or
            it held out other images, so that this fold's would have been trained on.
    """
    if not recipe.init_from:
        return None
    found = FoldFolder(fold.path.parent.parent / recipe.init_from / fold.path.name)
    if not found.weights.is_file():
        raise UserError(
            f"no {found.weights} to begin from",
            f"the run {recipe.init_from!r} with the same fold trained",
            "train it first, or name another run with --init-from",
        )
    state = load_state(found, with_variables=False)
    if state is not None and not state.finished:
        raise UserError(
            f"{found.path} has trained {state.epoch} epochs and not finished",
            "a finished fold to begin from",
            "run its own `pneumothorax train` again",
        )
    earlier = read_recipe(found)
    for name in _SAME:
        if getattr(earlier, name) != getattr(recipe, name):
            raise UserError(
                f"{name} {getattr(recipe, name)!r} to begin with {found.path} of {getattr(earlier, name)!r}",
                "the same in both, or the held-out images would have been trained on"
                if name in ("split", "fold_count", "seed")
                else "the same network in both",
            )
    return found


def load_beginning(model: keras.Model, found: FoldFolder, recipe: Recipe) -> None:
    """Load the weights of a fold, as found by `find_beginning`, into a network; a head it lacks stays fresh.

    Args:
        model: The network.
        found: The fold; of several hosts, the first alone needs it.
        recipe: Recipe of the network.
    """
    arrays = hosts.of_first(lambda: _read_layers(model, found, recipe))
    for layer in model.layers:
        if layer.name in arrays:
            layer.set_weights(arrays[layer.name])


def _read_layers(model: keras.Model, found: FoldFolder, recipe: Recipe) -> dict[str, list[np.ndarray]]:
    """Read the weights of a fold for each layer of a network that the fold's network has as well."""
    earlier = replace(read_recipe(found), legs="", size=recipe.size, precision="float32")
    with hosts.alone():
        trained = build_model(earlier, trained=True)
        load_weights(trained, found.weights)
        theirs = {layer.name: layer for layer in trained.layers if layer.weights}
        twins = {layer.name: _twin(layer, theirs) for layer in model.layers if layer.weights}
        return {name: twin.get_weights() for name, twin in twins.items() if twin is not None}


def _twin(layer: keras.Layer, theirs: dict[str, keras.Layer]) -> keras.Layer | None:
    """Find the layer of the other network that this one corresponds to: the U-Net, or a head by its name."""
    if isinstance(layer, keras.Model):
        return next(other for other in theirs.values() if isinstance(other, keras.Model))
    return theirs.get(layer.name)
