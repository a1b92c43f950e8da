"""Keras callbacks on time: each epoch's length and wait for data, the limit of a session, the progress line.

Those that look at each batch are `async_safe`, as in `training.callbacks`.
"""

import sys
import time

import keras
from tqdm import tqdm

from pneumothorax.training import hosts
from pneumothorax.training.feed import TrainingBatches

WORTH_SAYING = 0.05  # of an epoch, in which the device waited for data
LOSSES, JUDGES = ("loss", "val_loss"), ("val_classification_auc", "val_mean_dice")  # in an epoch's line


class Clock(keras.callbacks.Callback):
    """Measures each epoch: its length, the time before its first step, and its wait for data.

    The first epoch of a session begins with building and compiling; that is no part of an epoch's length. It
    must come before the callbacks that ask it.

    Args:
        feed: Knows when each batch was ready.

    Attributes:
        start_up: Seconds from the beginning of the session's first epoch to the end of its first step.
    """

    async_safe = True

    def __init__(self, feed: TrainingBatches) -> None:
        super().__init__()
        self.feed = feed
        self.start_up = 0.0
        self.first = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self.began, self.done = time.perf_counter(), dict[int, float]()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Note when the device had computed a batch."""
        self.done[batch] = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the extra time of the session's first step apart."""
        self.excess = 0.0
        if self.first and self.done:
            self.first = False
            self.start_up = self.done[min(self.done)] - self.began
            steps = (max(self.done.values()) - self.done[min(self.done)]) / max(len(self.done) - 1, 1)
            self.excess = max(self.start_up - steps, 0.0)

    def seconds(self) -> float:
        """Return the epoch's length so far, without the start-up."""
        return time.perf_counter() - self.began - self.excess

    def waited(self) -> float:
        """Return the share of the epoch's training in which the device had no batch to compute."""
        if len(self.done) < 2:
            return 0.0
        gaps = (
            self.feed.ready[batch] - self.done[batch - 1]
            for batch in self.done
            if batch - 1 in self.done and batch in self.feed.ready
        )
        return sum(max(gap, 0.0) for gap in gaps) / (max(self.done.values()) - min(self.done.values()))


class TimeLimit(keras.callbacks.Callback):
    """Ends training after an epoch when the next would end too late; the state stays resumable.

    It must come after `resume.ExactResume`, which would else take training for finished.

    Args:
        deadline: When to have ended, by `time.monotonic`.
        longest: Seconds of the longest epoch so far.
        clock: Measures the epochs.
    """

    def __init__(self, deadline: float, longest: float, clock: Clock) -> None:
        super().__init__()
        self.deadline, self.longest, self.clock = deadline, longest, clock

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """End training when another epoch as long as the longest would not fit."""
        self.longest = max(self.longest, self.clock.seconds())
        if hosts.of_first(lambda: time.monotonic() + self.longest > self.deadline):
            self.model.stop_training = True


class Progress(keras.callbacks.Callback):
    """A bar for each epoch, and at its end a line of the figures that count; `history.csv` has all.

    Args:
        feed: Knows how many batches the epoch has.
        clock: Measures the epochs.
        before: Epochs of earlier legs.
        planned: Epochs of all legs, as far as is known.
        monitor: Column of the history that picks the best epochs.
    """

    async_safe = True

    def __init__(self, feed: TrainingBatches, clock: Clock, before: int, planned: int, monitor: str) -> None:
        super().__init__()
        self.feed, self.clock, self.before, self.planned = feed, clock, before, planned
        self.shown = [*dict.fromkeys((*LOSSES, monitor, *JUDGES))]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begin the epoch's bar."""
        self.title = f"epoch {self.before + epoch + 1}/{self.planned}"
        self.bar = tqdm(total=len(self.feed), desc=self.title, unit="batch", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar."""
        self.bar.n = max(self.bar.n, batch + 1)  # threads may come out of order
        self.bar.set_postfix(loss=f"{(logs or {}).get('loss', 0):.4f}", refresh=False)
        self.bar.update(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Replace the bar by a line."""
        self.bar.close()
        logs = logs or {}
        parts = [_figure(name, logs) for name in self.shown if name in logs]
        parts.append(f"{self.clock.seconds():.0f} s")
        if self.clock.excess >= 1:
            parts.append(f"first step after {self.clock.start_up:.0f} s")
        if (waited := self.clock.waited()) >= WORTH_SAYING:
            parts.append(f"waited for data {waited:.0%}")
        print(f"{self.title}  {'  '.join(parts)}", file=sys.stderr, flush=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the bar of an epoch that was interrupted."""
        if hasattr(self, "bar"):
            self.bar.close()


def _figure(name: str, logs: dict[str, float]) -> str:
    """Format a column of the history, with its standard error if it has one."""
    error = logs.get(f"{name}_error")
    return f"{name} {logs[name]:.4g}" + ("" if error is None else f" (error {error:.2g})")
