"""fit_fold: train one fold by a recipe, resumable at every epoch, bit for bit.

Knows nothing of 1024 pixels, thresholds or submissions.
"""

import time
from importlib.util import find_spec
from typing import Any

import keras

from pneumothorax.data.cache import Cache, digest_studies
from pneumothorax.data.folds import Split
from pneumothorax.errors import UserError
from pneumothorax.model.devices import count_gpus, on_one_cpu, on_tensorflow
from pneumothorax.model.losses import find_loss, mean_soft_dice
from pneumothorax.model.unet import build_model
from pneumothorax.recipe import Recipe
from pneumothorax.training import hardware
from pneumothorax.training.callbacks import MONITOR, ExactResume, Progress, StopAtNaN, TimeLimit
from pneumothorax.training.feed import Feed, FixedFeed
from pneumothorax.training.run import FoldFolder, claim, load_state


def fit_fold(
    recipe: Recipe,
    cache: Cache,
    split: Split,
    fold: FoldFolder,
    *,
    strategy: Any = None,
    tensorboard: bool = False,
    deadline: float | None = None,
) -> bool:
    """Train one fold; go on where an earlier try of it ended; do nothing where it has finished.

    Args:
        recipe: How.
        cache: Training images and masks at the recipe's size.
        split: Which of them train and validate.
        fold: The folder that holds or will hold the results.
        strategy: A `tf.distribute` strategy for several devices.
        tensorboard: Also write TensorBoard's logs, to ``tensorboard/`` in the folder.
        deadline: When to have stopped at an epoch's end, by `time.monotonic`; None trains to the end.

    Returns:
        Whether the fold has finished; if not, another call goes on.

    Raises:
        UserError: The folder belongs to another recipe, environment or data, the cache has another size, the
            encoder's weights cannot be had, or the loss is no number.
    """
    if cache.images.shape[1:] != (recipe.size, recipe.size):
        found = "x".join(map(str, cache.images.shape[1:]))
        raise UserError(f"cache of {found} pixels in {cache.folder}", f"{recipe.size}x{recipe.size}")
    if tensorboard and find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard without TensorBoard", remedy="pip install tensorboard, or leave it out"
        )
    precision = hardware.choose_precision(recipe.precision)
    claim(fold, recipe, {"data": digest_studies(cache.studies), **hardware.describe(precision)})
    state = load_state(fold, with_variables=False)
    if state is not None and state.finished:
        return True
    longest = max((row["seconds"] for row in state.history), default=0.0) if state is not None else 0.0
    if deadline is not None and time.monotonic() + longest >= deadline:
        return False
    hardware.begin(recipe)
    first = state.epoch if state is not None else 0
    with hardware.scope_of(strategy):
        model = compile_model(recipe, precision, trained=state is not None)
    feed = Feed(cache, split.train, recipe, first)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "val_loss", factor=recipe.plateau_factor, patience=recipe.plateau_patience, min_delta=0.0
    )
    stop = keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=recipe.early_stop_patience)
    order = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: feed.begin(epoch))
    callbacks = [order, Progress(), StopAtNaN(feed, cache.studies["ImageId"].to_numpy()), plateau, stop]
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(fold.path / "tensorboard"), write_graph=False))
    callbacks.append(ExactResume(fold, [plateau, stop]))
    if deadline is not None:
        callbacks.append(TimeLimit(deadline, longest))
    model.fit(
        feed,
        validation_data=FixedFeed(cache, split.validation, recipe.batch_size),
        epochs=recipe.epochs,
        initial_epoch=first,
        callbacks=callbacks,
        shuffle=False,  # the feed does it, so that a resumed run repeats it
        verbose=0,
    )
    state = load_state(fold, with_variables=False)
    return state is not None and state.finished


def compile_model(recipe: Recipe, precision: str, *, trained: bool = False) -> keras.Model:
    """Build the recipe's network with its loss, metric and Adam."""
    model = build_model(recipe, precision, trained=trained)
    optimizer = _find_adam()(recipe.learning_rate)
    # Under mixed_float16 compile() itself scales the loss. XLA pays on a GPU; on a CPU it is several times
    # slower, and with several GPUs the strategy does the work.
    model.compile(
        optimizer,
        loss=find_loss(recipe),
        metrics=[mean_soft_dice(recipe)],
        jit_compile=not on_tensorflow() or count_gpus() == 1,
    )
    return model


def _find_adam() -> type[keras.optimizers.Adam]:
    """Return Keras' Adam, or on one CPU its twin of a fused kernel."""
    if not on_one_cpu():
        return keras.optimizers.Adam
    from pneumothorax.model.fast import Adam

    return Adam
