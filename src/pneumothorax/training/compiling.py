"""compile_model: a recipe -> its network with loss, metrics, Adam and the schedule of its rate."""

import keras
import numpy as np

from pneumothorax.model.devices import count_replicas, on_tensorflow
from pneumothorax.model.gain import Gain, GainModel
from pneumothorax.model.losses import find_losses
from pneumothorax.model.metrics import find_metrics
from pneumothorax.model.unet import build_model
from pneumothorax.recipe import Recipe
from pneumothorax.training.feed import make_batch
from pneumothorax.training.optimizer import freeze, make_optimizer
from pneumothorax.training.xla import uses_xla


def compile_model(
    recipe: Recipe,
    precision: str,
    *,
    steps: list[int] | None = None,
    trained: bool = False,
    xla: bool = False,
) -> keras.Model:
    """Build the recipe's network with its loss, metrics and Adam.

    Args:
        recipe: How.
        precision: A Keras dtype policy.
        steps: How many steps each planned epoch has; the schedule 'cosine' needs them.
        trained: Weights will be loaded into it, so the encoder's own are not fetched.
        xla: Whether the user asks XLA to compile its steps.
    """
    network = build_model(recipe, precision, trained=trained)
    freeze(network, recipe)
    model = GainModel(network.input, network.output, name=network.name)
    model.gain = Gain(recipe.size, headed=recipe.classification_head)
    # Under mixed_float16 compile() itself scales the loss.
    model.compile(
        make_optimizer(model, recipe, steps),
        loss=find_losses(recipe),
        weighted_metrics=find_metrics(recipe),
        jit_compile=uses_xla(xla),
    )
    _make_variables(model, recipe)
    return model


def _make_variables(model: keras.Model, recipe: Recipe) -> None:
    """Make the variables of optimiser, losses and metrics; a function that makes its own is traced twice."""
    model.optimizer.build(model.trainable_variables)
    if on_tensorflow() and count_replicas() == 1:  # else Keras does it before the first step
        images = np.zeros((1, recipe.size, recipe.size, 1), np.uint8)
        _, truth, *_ = make_batch(recipe, images, images.astype(np.float32), np.zeros(1, bool))
        seen = keras.tree.map_structure(lambda part: keras.ops.convert_to_tensor(part[..., :1]), truth)
        model.compute_loss(y=truth, y_pred=seen)
        model.compute_metrics(None, truth, seen)
        model.reset_metrics()
