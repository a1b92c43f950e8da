"""The optimizer of a recipe: Adam, its learning-rate schedule, and the encoder's share of the rate."""

from typing import Any

import keras

from pneumothorax.model.architectures import find_encoder
from pneumothorax.model.devices import on_one_device
from pneumothorax.recipe import Recipe

NO_DECAY = ["bias", "gamma", "beta"]  # names of variables


def freeze(network: keras.Model, recipe: Recipe) -> None:
    """Freeze the parts of a network's encoder that the recipe does not train.

    A frozen batch normalisation uses its running averages in training, and keeps them.
    """
    if recipe.encoder_rate and not recipe.freeze_batch_norm:
        return
    for layer in _encoder_of(network).layers:
        if not recipe.encoder_rate or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def make_optimizer(
    model: keras.Model, recipe: Recipe, steps: list[int] | None = None
) -> keras.optimizers.Optimizer:
    """Make Adam by the recipe.

    Args:
        model: The network, with its frozen layers.
        recipe: Training configuration.
        steps: Number of steps of each planned epoch; the schedule 'cosine' needs them.
    """
    optimizer = _find_adam(_encoder_shares(model, recipe))(
        _find_rate(recipe, steps),
        weight_decay=recipe.weight_decay or None,
        global_clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema or 0.99,
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
    )
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NO_DECAY)
    return optimizer


def _encoder_of(network: keras.Model) -> keras.Model:
    """Return the encoder of a network that `build_model` has built."""
    return find_encoder(next(layer for layer in network.layers if isinstance(layer, keras.Model)))


def _encoder_shares(model: keras.Model, recipe: Recipe) -> list[float] | None:
    """Return each trainable variable's share of the learning rate; None if all are 1."""
    if recipe.encoder_rate in (0, 1):
        return None
    encoder = {id(variable) for variable in _encoder_of(model).trainable_variables}
    return [recipe.encoder_rate if id(variable) in encoder else 1.0 for variable in model.trainable_variables]


def _find_adam(shares: list[float] | None) -> type[keras.optimizers.Adam]:
    """Return Keras' Adam, or for one device its fused twin, with a share of the rate for each variable."""
    kind = keras.optimizers.Adam
    if on_one_device():
        from pneumothorax.model.fast import Adam

        kind = Adam
    if shares is None:
        return kind
    of_variable = shares

    class SharedAdam(kind):  # type: ignore[misc, valid-type]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            share = of_variable[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * share)

    return SharedAdam


def _find_rate(recipe: Recipe, steps: list[int] | None) -> Any:
    """Return the learning rate, or its schedule over the updates of all planned epochs."""
    if recipe.schedule != "cosine" or steps is None:
        return recipe.learning_rate
    updates = max(sum(steps) // recipe.accumulate, 1)
    whole = int(recipe.warmup_epochs)
    warm = sum(steps[:whole]) + (recipe.warmup_epochs - whole) * steps[min(whole, len(steps) - 1)]
    warm_updates = int(warm / recipe.accumulate)
    if not warm_updates:
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, updates)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(updates - warm_updates, 1), warmup_target=recipe.learning_rate, warmup_steps=warm_updates
    )
