"""fit_leg: train one leg of a fold, from its present state to its end or to a deadline."""

import gc
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from pneumothorax import interrupts
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Split
from pneumothorax.model.encoders.weights import find_weights, note_weights
from pneumothorax.model.exhaustion import training_memory
from pneumothorax.recipe import Recipe
from pneumothorax.training import hardware, hosts
from pneumothorax.training.callbacks import EpochDraw, HardNegatives, Interruptible, StopAtNaN, SwapAverage
from pneumothorax.training.compiling import compile_model
from pneumothorax.training.feed import TrainingBatches, ValidationBatches
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import monitored
from pneumothorax.training.resume import ExactResume
from pneumothorax.training.state import State
from pneumothorax.training.timing import Clock, Progress, TimeLimit
from pneumothorax.training.trackers import Row
from pneumothorax.training.warm_start import load_beginning
from pneumothorax.training.xla import announce, uses_xla


@dataclass(frozen=True)
class Leg:
    """A leg of training, and its progress.

    Attributes:
        recipe: Training configuration of the leg.
        number: Index of the leg, counted from 0.
        last: Whether it is the last leg.
        done: Epochs of it that are done.
        before: Epochs of the legs before it.
        planned: Epochs of all legs, as far as known.
        longest: Seconds of the longest epoch so far, in proportion to the leg's pixels.
    """

    recipe: Recipe
    number: int
    last: bool
    done: int
    before: int
    planned: int
    longest: float


def find_leg(legs: Sequence[Recipe], state: State | None) -> Leg:
    """Return the leg to train next.

    Args:
        legs: The recipes of all legs.
        state: State of training; None before the end of the first epoch.
    """
    state = state or State(0, [], {}, [], False)
    recipe, done = legs[state.leg], state.leg_epochs
    before = state.epoch - done
    seconds = (row["seconds"] * (recipe.size / row.get("size", recipe.size)) ** 2 for row in state.history)
    return Leg(
        recipe,
        state.leg,
        last=state.leg + 1 == len(legs),
        done=done,
        before=before,
        planned=before + sum(leg.epochs for leg in legs[state.leg :]),
        longest=max(seconds, default=0.0),
    )


def fit_leg(
    leg: Leg,
    cache: Cache,
    split: Split,
    fold: FoldFolder,
    *,
    begin_with: FoldFolder | None,
    precision: str,
    strategy: Any = None,
    xla: bool = False,
    log: Callable[[Sequence[Row]], None],
    deadline: float | None = None,
) -> None:
    """Train a leg; the fold's state then holds its progress.

    Args:
        leg: The leg and its progress.
        cache: Images and masks at its size.
        split: Rows that train and validate.
        fold: Folder of the results.
        begin_with: Fold whose weights the leg begins with, or None.
        precision: A Keras dtype policy.
        strategy: A `tf.distribute` strategy for several devices.
        xla: Whether the user asks XLA to compile the steps.
        log: Called with the history after each epoch, once that is saved.
        deadline: Latest end of the last epoch, by `time.monotonic`, or None.
    """
    recipe = leg.recipe
    if leg.number and not leg.done:
        print(f"leg {leg.number + 1} from epoch {leg.before + 1}: {recipe.size} pixels", file=sys.stderr)
    gc.collect()  # frees the network of the leg before and its GPU memory
    hardware.begin(recipe, xla)
    feed = TrainingBatches(cache, split.train, recipe, leg.done)
    with hardware.scope_of(strategy):
        loaded = leg.before + leg.done > 0 or begin_with is not None
        origin = None if loaded else find_weights(recipe)  # before a download puts the file into the cache
        model = compile_model(recipe, precision, steps=feed.lengths(), trained=loaded, xla=xla)
    if origin is not None:
        hosts.of_first(partial(note_weights, fold.path, origin))
    if begin_with is not None:
        load_beginning(model, begin_with, recipe)
    clock = Clock(feed)
    resume, callbacks = _callbacks(leg, feed, fold, clock, log)
    if deadline is not None:
        callbacks.append(TimeLimit(deadline, leg.longest, clock))
    if uses_xla(xla):
        announce("step")
    try:
        with interrupts.checked_loop(), training_memory(recipe), warnings.catch_warnings():
            # An epoch may be shorter than the longest, whose length Keras expects.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            model.fit(
                feed,
                validation_data=ValidationBatches(cache, split.validation, recipe),
                epochs=recipe.epochs,
                initial_epoch=leg.done,
                callbacks=Interruptible(callbacks, model, recipe.epochs),
                shuffle=False,  # the feed does it, so that a resumed run repeats it
                verbose=0,
            )
    finally:
        feed.close()
        resume.wait()


def _callbacks(
    leg: Leg,
    feed: TrainingBatches,
    fold: FoldFolder,
    clock: Clock,
    log: Callable[[Sequence[Row]], None],
) -> tuple[ExactResume, list[keras.callbacks.Callback]]:
    """List a leg's callbacks in the order that they need; the exact resume comes last."""
    recipe, monitor = leg.recipe, monitored(leg.recipe)
    hard = HardNegatives(feed) if recipe.hard_negatives else None
    ema = SwapAverage() if recipe.ema else None
    watched: list[keras.callbacks.Callback] = [
        *([hard] if hard else []),
        keras.callbacks.EarlyStopping(monitor, mode="max", patience=recipe.early_stop_patience),
    ]
    if recipe.schedule == "plateau":
        watched.append(
            keras.callbacks.ReduceLROnPlateau(
                "val_loss", factor=recipe.plateau_factor, patience=recipe.plateau_patience, min_delta=0.0
            )
        )
    resume = ExactResume(
        fold, clock, watched, monitor, recipe.average_best, ema, leg=leg.number, last=leg.last, log=log
    )
    return resume, [
        EpochDraw(feed, hard),
        clock,
        *([ema] if ema else []),
        Progress(feed, clock, leg.before, leg.planned, monitor),
        StopAtNaN(feed, feed.cache.studies["ImageId"].to_numpy(), leg.before),
        *watched,
        resume,
    ]
