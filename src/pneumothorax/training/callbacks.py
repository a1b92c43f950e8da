"""Keras callbacks: the exact resume, the stop at a loss that is no number, the progress of a long run."""

import sys
import time
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from pneumothorax.errors import UserError
from pneumothorax.model.unet import save_weights
from pneumothorax.training.feed import Feed
from pneumothorax.training.run import FoldFolder, State, load_state, save_state, write_history

MONITOR = "val_mean_dice"
# What Keras' own BackupAndRestore forgets: the memories of the callbacks that end training or slow it down.
MEMORIES = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
}


class ExactResume(keras.callbacks.Callback):
    """Saves all of training's state at each epoch's end, and restores it when training begins.

    It must come after the callbacks that it watches: it saves what they have become, and restores what they
    reset when training begins.

    Args:
        fold: Where to.
        watched: The callbacks whose memories belong to the state.
    """

    def __init__(self, fold: FoldFolder, watched: list[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.fold, self.watched = fold, watched
        self.history: list[dict[str, float]] = []
        self.began = 0.0

    def variables(self) -> list[keras.Variable]:
        """List all that training changes, in a fixed order."""
        self.model.optimizer.build(self.model.trainable_variables)
        return [*self.model.variables, *self.model.optimizer.variables]

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the state, if there is one."""
        state = load_state(self.fold)
        if state is None:
            return
        for variable, array in zip(self.variables(), state.variables, strict=True):
            variable.assign(array)
        for callback in self.watched:
            for name, value in state.callbacks[type(callback).__name__].items():
                setattr(callback, name, value)
        self.history = state.history
        write_history(self.fold, self.history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save weights if they are the best yet, and then the state."""
        row = {"epoch": epoch + 1.0, **{name: float(value) for name, value in (logs or {}).items()}}
        row["seconds"] = round(time.perf_counter() - self.began, 3)
        # A kill between the two leaves newer weights beside the older state; the epoch then comes again,
        # bit for bit, and writes the same weights.
        if all(row[MONITOR] > before[MONITOR] for before in self.history):
            save_weights(self.model, self.fold.weights)
        self.history.append(row)
        finished = bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]
        arrays = [np.asarray(keras.ops.convert_to_numpy(variable.value)) for variable in self.variables()]
        memories = {type(callback).__name__: _memories(callback) for callback in self.watched}
        save_state(self.fold, State(epoch + 1, arrays, memories, self.history, finished))
        write_history(self.fold, self.history)


class TimeLimit(keras.callbacks.Callback):
    """Ends training after an epoch when the next would end too late; the state stays resumable.

    It must come after `ExactResume`, which would else take training for finished.

    Args:
        deadline: When to have ended, by `time.monotonic`.
        longest: Seconds of the longest epoch so far.
    """

    def __init__(self, deadline: float, longest: float) -> None:
        super().__init__()
        self.deadline, self.longest = deadline, longest

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """End training when another epoch as long as the longest would not fit."""
        now = time.monotonic()
        self.longest = max(self.longest, now - self.began)
        if now + self.longest > self.deadline:
            self.model.stop_training = True


class StopAtNaN(keras.callbacks.Callback):
    """Ends training at the first batch whose loss is no number, before that epoch is saved.

    Args:
        feed: Knows the batch's images.
        names: ImageId of each cache row.
    """

    def __init__(self, feed: Feed, names: np.ndarray) -> None:
        super().__init__()
        self.feed, self.names = feed, names

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the loss.

        Raises:
            UserError: It is NaN or infinite; the message names the batch and its images.
        """
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            images = ", ".join(map(str, self.names[self.feed.batches[batch]][:4]))
            raise UserError(
                f"loss {loss} in epoch {self.feed.epoch + 1}, batch {batch + 1} ({images} ...)",
                "a number",
                "the state of the epoch before is kept; try a lower --learning-rate or --precision float32",
            )


class Progress(keras.callbacks.Callback):
    """A bar for each epoch and a line at its end, on stderr."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begin the epoch's bar."""
        self.began = time.perf_counter()
        title = f"epoch {epoch + 1}/{self.params['epochs']}"
        self.bar = tqdm(total=self.params["steps"], desc=title, unit="batch", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar."""
        self.bar.update()
        self.bar.set_postfix(loss=f"{(logs or {}).get('loss', 0):.4f}", refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Replace the bar by a line."""
        seconds = time.perf_counter() - self.began
        self.bar.close()
        parts = (f"{name} {value:.4g}" for name, value in (logs or {}).items())
        line = f"epoch {epoch + 1}/{self.params['epochs']}  {'  '.join(parts)}  {seconds:.0f} s"
        print(line, file=sys.stderr, flush=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the bar of an epoch that was interrupted."""
        if hasattr(self, "bar"):
            self.bar.close()


def _memories(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback that its next decision depends on, as plain numbers."""
    values = {name: getattr(callback, name) for name in MEMORIES[type(callback).__name__]}
    return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
