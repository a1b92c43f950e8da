"""fit_fold: train one fold by a recipe, resumable at every epoch; on CPUs bit for bit.

Knows nothing of 1024 pixels, thresholds or submissions.
"""

import time
import warnings
from functools import partial
from importlib.util import find_spec
from typing import Any

import keras

from pneumothorax.data.cache import Cache, digest_studies
from pneumothorax.data.folds import Split
from pneumothorax.errors import UserError
from pneumothorax.model.encoder_weights import find_weights, note_weights
from pneumothorax.model.exhaustion import training_memory
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.training import hardware, hosts
from pneumothorax.training.beginning import find_beginning, load_beginning
from pneumothorax.training.callbacks import (
    Clock,
    EpochDraw,
    HardNegatives,
    Progress,
    StopAtNaN,
    SwapAverage,
    TimeLimit,
)
from pneumothorax.training.compiling import compile_model
from pneumothorax.training.feed import Feed, FixedFeed
from pneumothorax.training.resume import ExactResume, settle_weights
from pneumothorax.training.run import FoldFolder, claim, load_state, monitored, write_history
from pneumothorax.training.sessions import record_session


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
            encoder's weights cannot be had, the loss is no number, or the memory is full.
    """
    if cache.images.shape[1:] != (recipe.size, recipe.size):
        found = "x".join(map(str, cache.images.shape[1:]))
        raise UserError(f"cache of {found} pixels in {cache.folder}", f"{recipe.size}x{recipe.size}")
    if tensorboard and find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard without TensorBoard", remedy="pip install tensorboard, or leave it out"
        )
    precision = hardware.choose_precision(recipe.precision)
    hardware.check_batch(recipe.batch_size)
    environment = {"data": digest_studies(cache.studies), **hardware.describe(precision)}
    hosts.check_same({"recipe": to_json(recipe), **environment, "--max-hours": deadline is not None})
    state = hosts.of_first(lambda: load_state(fold, with_variables=False))
    begin_with = find_beginning(recipe, fold) if state is None else None
    hosts.of_first(lambda: claim(fold, recipe, environment))
    if state is not None:
        hosts.of_first(partial(settle_weights, fold, state, monitored(recipe), recipe.average_best))
        if state.finished:
            return True
        hosts.of_first(partial(write_history, fold, state.history))
    longest = max((row["seconds"] for row in state.history), default=0.0) if state is not None else 0.0
    if deadline is not None and hosts.of_first(lambda: time.monotonic() + longest >= deadline):
        return False
    hardware.begin(recipe)
    first = state.epoch if state is not None else 0
    hosts.of_first(lambda: _record(fold, first, cache, split))
    feed = Feed(cache, split.train, recipe, first)
    with hardware.scope_of(strategy):
        loaded = state is not None or begin_with is not None
        origin = None if loaded else find_weights(recipe)  # before a download puts the file into the cache
        model = compile_model(recipe, precision, steps=feed.lengths(), trained=loaded)
    if origin is not None:
        hosts.of_first(partial(note_weights, fold.path, origin))
    if begin_with is not None:
        load_beginning(model, begin_with, recipe)
    clock = Clock(feed)
    resume, callbacks = _callbacks(recipe, feed, fold, clock)
    if tensorboard:
        callbacks.insert(-1, keras.callbacks.TensorBoard(str(fold.path / "tensorboard"), write_graph=False))
    if deadline is not None:
        callbacks.append(TimeLimit(deadline, longest, clock))
    try:
        with training_memory(recipe), warnings.catch_warnings():
            # An epoch may be shorter than the longest, which Keras expects.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            model.fit(
                feed,
                validation_data=FixedFeed(cache, split.validation, recipe),
                epochs=recipe.epochs,
                initial_epoch=first,
                callbacks=callbacks,
                shuffle=False,  # the feed does it, so that a resumed run repeats it
                verbose=0,
            )
    finally:
        feed.close()
        resume.wait()
    state = hosts.of_first(lambda: load_state(fold, with_variables=False))
    return state is not None and state.finished


def _record(fold: FoldFolder, epoch: int, cache: Cache, split: Split) -> None:
    """Note that a session begins: on which machine, and on how many images."""
    rows = cache.studies.iloc[split.train]
    patients = rows["patient"][rows["patient"] != ""] if "patient" in rows else rows["ImageId"][:0]
    record_session(
        fold,
        epoch,
        machine=hardware.describe_machine(),
        images=len(rows),
        positives=int((rows["area"] > 0).sum()),
        patients=int(patients.nunique()),
    )


def _callbacks(
    recipe: Recipe, feed: Feed, fold: FoldFolder, clock: Clock
) -> tuple[ExactResume, list[keras.callbacks.Callback]]:
    """List the recipe's callbacks in the order that each of them needs; the exact resume comes last."""
    monitor = monitored(recipe)
    hard = [HardNegatives(feed)] if recipe.hard_negatives else []
    ema = [SwapAverage()] if recipe.ema else []
    watched: list[keras.callbacks.Callback] = [
        *hard,
        keras.callbacks.EarlyStopping(monitor, mode="max", patience=recipe.early_stop_patience),
    ]
    if recipe.schedule == "plateau":
        watched.append(
            keras.callbacks.ReduceLROnPlateau(
                "val_loss", factor=recipe.plateau_factor, patience=recipe.plateau_patience, min_delta=0.0
            )
        )
    resume = ExactResume(fold, clock, watched, monitor, recipe.average_best, *ema)
    return resume, [
        EpochDraw(feed, *hard),
        clock,
        *ema,
        Progress(feed, clock),
        StopAtNaN(feed, feed.cache.studies["ImageId"].to_numpy()),
        *watched,
        resume,
    ]
