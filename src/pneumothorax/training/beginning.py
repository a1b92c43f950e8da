"""Where training begins from: the weights of another run's same fold, of any size and with any heads.

So that a network trained at 256 pixels goes on at 512 and at 768.
"""

from dataclasses import replace

import keras

from pneumothorax.errors import UserError
from pneumothorax.model.unet import build_model, load_weights
from pneumothorax.recipe import Recipe
from pneumothorax.training.run import FoldFolder, load_state, read_recipe

# What both runs must share: the network, and who is held out.
_SAME = ("architecture", "encoder", "decoder_filters", "split", "folds", "seed")


def find_beginning(recipe: Recipe, fold: FoldFolder) -> FoldFolder | None:
    """Find the fold whose weights a fold begins with; None where the recipe names no run.

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
                if name in ("split", "folds", "seed")
                else "the same network in both",
            )
    return found


def load_beginning(model: keras.Model, found: FoldFolder, recipe: Recipe) -> None:
    """Put the weights of the fold that `find_beginning` found into a network; a head it lacks stays fresh."""
    earlier = replace(read_recipe(found), size=recipe.size, precision="float32")
    trained = build_model(earlier, trained=True)
    load_weights(trained, found.weights)
    theirs = {layer.name: layer for layer in trained.layers if layer.weights}
    for layer in model.layers:
        if layer.weights and (source := _twin(layer, theirs)) is not None:
            layer.set_weights(source.get_weights())


def _twin(layer: keras.Layer, theirs: dict[str, keras.Layer]) -> keras.Layer | None:
    """Find the layer of the other network that this one corresponds to: the U-Net, or a head by its name."""
    if isinstance(layer, keras.Model):
        return next(other for other in theirs.values() if isinstance(other, keras.Model))
    return theirs.get(layer.name)
