"""The callback that makes a resume exact: all of training's state, saved at each epoch's end."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumothorax.model.unet import save_weights
from pneumothorax.training.averaging import average_weights, best_epochs
from pneumothorax.training.run import FoldFolder, State, load_state, save_state, write_history

# What Keras' own BackupAndRestore forgets: the memories of the callbacks that training's course depends on.
MEMORIES = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
    "HardNegatives": ("hard",),
}


class ExactResume(keras.callbacks.Callback):
    """Saves all of training's state at each epoch's end, and restores it when training begins.

    It also keeps the weights of the best epochs, of their moving average where there is one, and leaves the
    best, or the mean of the best, as the fold's weights. It must come after the callbacks that it watches: it
    saves what they have become, and restores what they reset when training begins.

    Args:
        fold: Where to.
        watched: The callbacks whose memories belong to the state.
        monitor: The column of the history that picks the best epochs, higher is better.
        average: Of how many of the best epochs the weights are averaged in the end.
        ema: The callback that swaps the weights and their moving average, or None.
    """

    def __init__(
        self,
        fold: FoldFolder,
        watched: list[keras.callbacks.Callback],
        monitor: str,
        average: int = 1,
        ema: keras.callbacks.SwapEMAWeights | None = None,
    ) -> None:
        super().__init__()
        self.fold, self.watched, self.monitor, self.average, self.ema = fold, watched, monitor, average, ema
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
        """Save weights if they are among the best yet, and then the state."""
        row = {"epoch": epoch + 1.0, **{name: float(value) for name, value in (logs or {}).items()}}
        row["seconds"] = round(time.perf_counter() - self.began, 3)
        self.history.append(row)
        finished = bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]
        # A kill between weights and state leaves newer weights beside the older state; the epoch then comes
        # again, bit for bit, and writes the same weights.
        kept = self._keep_weights(epoch, finished)
        arrays = [np.asarray(keras.ops.convert_to_numpy(variable.value)) for variable in self.variables()]
        memories = {type(callback).__name__: _memories(callback) for callback in self.watched}
        save_state(self.fold, State(epoch + 1, arrays, memories, self.history, finished))
        write_history(self.fold, self.history)
        for path in set(self.fold.path.glob("epoch*.weights.h5")) - set(kept if not finished else []):
            path.unlink()

    def _keep_weights(self, epoch: int, finished: bool) -> list[Path]:
        """Save this epoch's weights if they are among the best; return the files that an average needs."""
        best = best_epochs([row[self.monitor] for row in self.history], self.average)
        if best[0] == epoch:
            self._save(self.fold.weights)
        if self.average == 1:
            return []
        kept = [self.fold.path / f"epoch{place + 1:04}.weights.h5" for place in best]
        if epoch in best:
            self._save(kept[best.index(epoch)])
        if finished:
            average_weights(kept, self.fold.weights)
        return kept

    def _save(self, path: Path) -> None:
        with self._averaged():
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
    """Return the attributes of a callback that its next decision depends on, as plain values."""
    values = {name: getattr(callback, name) for name in MEMORIES[type(callback).__name__]}
    return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
