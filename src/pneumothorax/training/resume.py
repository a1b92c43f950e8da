"""The callback that makes a resume exact: all of training's state, saved at each epoch's end.

The state is copied when an epoch ends and written while the next one trains.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumothorax.model.unet import save_weights
from pneumothorax.training import hosts
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import write_history
from pneumothorax.training.state import State, load_state, save_state
from pneumothorax.training.timing import Clock
from pneumothorax.training.trackers import Row
from pneumothorax.training.weight_averaging import average_weights, best_epochs
from pneumothorax.workspace import atomic

# State of callbacks that Keras' own BackupAndRestore does not save.
MEMORIES = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
    "HardNegatives": ("hard",),
}


def epoch_weights(fold: FoldFolder, epoch: int) -> Path:
    """Return the file of the weights of an epoch, counted from 0, while it is among the best."""
    return fold.path / f"epoch{epoch + 1:04}.weights.h5"


def settle_weights(fold: FoldFolder, state: State, monitor: str, average: int = 1) -> None:
    """Make the weights files agree with a state that has been written; may be repeated.

    An epoch's weights have a file of their own until the state that knows the epoch is on the disk, so that a
    kill between the two leaves no weights of an epoch that is going to be trained again.

    fold: Folder of the results.
        fold: Folder of the fold.
        state: State written by `save_state`.
        monitor: The column of the history that picks the best epochs, higher is better.
        average: Number of the best epochs whose weights are averaged in the end.
    """
    best = [epoch_weights(fold, epoch) for epoch in best_epochs(state.history, monitor, average)]
    if average == 1:
        if best[0].is_file():
            best[0].replace(fold.weights)
    elif not state.finished:
        with atomic(fold.weights) as temporary:
            shutil.copy(best[0], temporary)
    elif all(path.is_file() for path in best):  # else a kill has come after the average
        average_weights(best, fold.weights)
    kept = set() if state.finished or average == 1 else set(best)
    for path in set(fold.path.glob("epoch*.weights.h5")) - kept:
        path.unlink()


class ExactResume(keras.callbacks.Callback):
    """Saves all of training's state at each epoch's end, and restores it when training begins.

    It also keeps the weights of the best epochs, and of their moving average if there is one, and leaves the
    best, or the mean of the best, as the fold's weights. It must come after the callbacks that it watches: it
    saves their state, and restores it after they have reset it when training begins.

    Args:
        fold: Folder of the results.
        clock: Measures the epochs.
        watched: Callbacks whose state is saved.
        monitor: The column of the history that picks the best epochs, higher is better.
        average: Number of the best epochs whose weights are averaged in the end.
        ema: The callback that swaps the weights and their moving average, or None.
        leg: The leg of training, counted from 0.
        last: Whether it is the last leg.
        log: Called with the history after each epoch, once that is saved.
    """

    def __init__(
        self,
        fold: FoldFolder,
        clock: Clock,
        watched: list[keras.callbacks.Callback],
        monitor: str,
        average: int = 1,
        ema: keras.callbacks.SwapEMAWeights | None = None,
        leg: int = 0,
        last: bool = True,
        log: Callable[[Sequence[Row]], None] | None = None,
    ) -> None:
        super().__init__()
        self.fold, self.clock, self.watched, self.ema = fold, clock, watched, ema
        self.monitor, self.average, self.leg, self.last = monitor, average, leg, last
        self.log = log
        self.history: list[dict[str, float]] = []
        self.thread = ThreadPoolExecutor(1, "state")
        self.writing: Future[None] | None = None

    def variables(self) -> list[keras.Variable]:
        """List all that training changes, in a fixed order."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the state, if there is one."""
        state = hosts.of_first(lambda: load_state(self.fold))
        if state is None:
            return
        self.history = state.history
        if not state.leg_epochs:
            return
        for variable, array in zip(self.variables(), state.variables, strict=True):
            variable.assign(hosts.spread(array, variable))
        for callback in self.watched:
            for name, value in state.callbacks[type(callback).__name__].items():
                setattr(callback, name, value)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the weights if they are among the best yet, copy the state, and begin to write it."""
        self.wait()
        place = len(self.history)
        row = {"epoch": place + 1.0, "leg": self.leg + 1.0, "size": float(self.model.input_shape[1])}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        row["seconds"] = round(self.clock.seconds(), 3)
        self.history.append(row)
        over = bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]
        if not hosts.is_first():
            return
        if place in best_epochs(self.history, self.monitor, self.average):
            self._save(epoch_weights(self.fold, place))
        state = State(place + 1, [], {}, list(self.history), over and self.last, self.leg)
        if over and not self.last:
            state.leg += 1
        else:
            state.variables = [
                np.array(keras.ops.convert_to_numpy(variable.value)) for variable in self.variables()
            ]
            state.callbacks = {type(callback).__name__: _memories(callback) for callback in self.watched}
        self.writing = self.thread.submit(self._write, state)
        if over:
            self.wait()

    def _write(self, state: State) -> None:
        write_history(self.fold, state.history)
        save_state(self.fold, state)
        settle_weights(self.fold, state, self.monitor, self.average)
        if self.log is not None:
            self.log(state.history)

    def wait(self) -> None:
        """Wait until the state of the last epoch is written.

        Raises:
            OSError: It could not be.
        """
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Wait for the last state."""
        self.wait()

    def _save(self, path: Path) -> None:
        with self._averaged(), hosts.alone():  # Keras makes variables of its own to save by
            save_weights(self.model, path)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the moving average in the weights' place, as Keras does to validate."""
        if self.ema is None:
            yield
            return
        self.ema.on_test_begin()
        try:
            yield
        finally:
            self.ema.on_test_end()


def _memories(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback that determine its next decision, as plain values."""
    values = {name: getattr(callback, name) for name in MEMORIES[type(callback).__name__]}
    return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
