"""Keras callbacks: what an epoch draws, the stop at a loss that is no number, the progress of a long run.

Those that look at each batch say that they are `async_safe`: Keras then calls them in threads of its own,
once the device has computed the batch, and meanwhile asks for the next steps.
"""

import sys
import time

import keras
import numpy as np
from tqdm import tqdm

from pneumothorax import interrupts
from pneumothorax.data.batches import full_batches, gather
from pneumothorax.errors import UserError
from pneumothorax.model.metrics import plain_names
from pneumothorax.training import hosts
from pneumothorax.training.feed import TrainingBatches
from pneumothorax.training.hardware import predict_on_batch

WORTH_SAYING = 0.05  # of an epoch, in which the device waited for data


class Interruptible(keras.callbacks.CallbackList):
    """Keras' list of callbacks, which ends training between two batches after a Ctrl-C.

    A callback could end it as well, but only in the threads of the others, or by keeping them from theirs.

    Args:
        callbacks: What Keras would be given.
        model: The network that is trained.
        epochs: How many epochs in all.
    """

    def __init__(self, callbacks: list[keras.callbacks.Callback], model: keras.Model, epochs: int) -> None:
        super().__init__(callbacks, add_history=True, model=model, verbose=0, epochs=epochs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """End training if that was asked for.

        Raises:
            KeyboardInterrupt: It was.
        """
        interrupts.check()
        super().on_train_batch_begin(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """End validation if that was asked for.

        Raises:
            KeyboardInterrupt: It was.
        """
        interrupts.check()
        super().on_test_batch_begin(batch, logs)


class EpochDraw(keras.callbacks.Callback):
    """Draws each epoch's images when it begins, and gives the scores of its end their plain names.

    It must come first.

    Args:
        feed: What training draws from.
        hard: Knows which negatives to draw more often, or None.
    """

    def __init__(self, feed: TrainingBatches, hard: "HardNegatives | None" = None) -> None:
        super().__init__()
        self.feed, self.hard = feed, hard

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Say that Keras has asked how many batches to expect."""
        self.feed.started = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Draw."""
        self.feed.begin(epoch, self.hard.hard if self.hard is not None else ())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Rename, and add the learning rate where no other callback does."""
        if logs is None:
            return
        plain = plain_names(logs)
        for name in ("gain", "gain_error"):  # of validation alone
            plain.pop(name, None)
        plain["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs.clear()
        logs.update(plain)


class SwapAverage(keras.callbacks.SwapEMAWeights):
    """Puts the moving average in the weights' place to validate.

    Keras' own takes each array to the host and back on JAX, which several hosts cannot do one by one. JAX's
    arrays never change, so that the variables may simply exchange them.
    """

    def _backend_swap_variables(self, optimizer: keras.optimizers.Optimizer) -> None:
        averages = optimizer._model_variables_moving_average
        for weight, average in zip(optimizer._trainable_variables, averages, strict=True):
            held = weight.value
            weight.assign(average.value)
            average.assign(held)


class HardNegatives(keras.callbacks.Callback):
    """Remembers the negatives in which the last epoch that drew them found a pneumothorax.

    Each epoch ends with a look at the negatives it has drawn, as they are in the cache: one is hard when any
    pixel of it is above one half.

    Args:
        feed: What training draws from.

    Attributes:
        hard: Their rows.
    """

    def __init__(self, feed: TrainingBatches) -> None:
        super().__init__()
        self.feed = feed
        self.hard: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look."""
        drawn = np.sort(np.concatenate(self.feed.batches))
        drawn = drawn[~self.feed.positive[drawn]]
        wrong = set(self.hard) - set(drawn.tolist())
        if len(drawn):
            for rows in full_batches(drawn, self.feed.recipe.batch_size):
                interrupts.check()
                images, _ = gather(self.feed.cache, rows)
                seen = predict_on_batch(self.model, images)
                maps = seen["probability"] if isinstance(seen, dict) else seen
                wrong.update(rows[maps.max(axis=(1, 2, 3)) > 0.5].tolist())
        self.hard = sorted(wrong)
        if logs is not None:
            logs["hard_negatives"] = float(len(self.hard))


class Clock(keras.callbacks.Callback):
    """Measures each epoch: its own length, what came before its first step, and how long it waited for data.

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
        """Set apart what the session's first step took longer than the others."""
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


class StopAtNaN(keras.callbacks.Callback):
    """Ends training at a batch whose loss is no number, before that epoch is saved.

    Args:
        feed: Knows the batch's images.
        names: ImageId of each cache row.
        before: Epochs of earlier legs.
    """

    async_safe = True

    def __init__(self, feed: TrainingBatches, names: np.ndarray, before: int = 0) -> None:
        super().__init__()
        self.feed, self.names, self.before = feed, names, before

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the loss, the mean of the epoch so far.

        Raises:
            UserError: It is NaN or infinite; the message names the batch and its images.
        """
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            images = ", ".join(map(str, self.names[self.feed.batches[batch]][:4]))
            raise UserError(
                f"loss {loss} in epoch {self.before + self.feed.epoch + 1}, batch {batch + 1} ({images} ...)",
                "a number",
                "the state of the epoch before is kept; try a lower --learning-rate or --precision float32",
            )


class Progress(keras.callbacks.Callback):
    """A bar for each epoch and a line at its end, on stderr.

    Args:
        feed: Knows how many batches the epoch has.
        clock: Measures the epochs.
        before: Epochs of earlier legs.
        planned: Epochs of all legs, as far as is known.
    """

    async_safe = True

    def __init__(self, feed: TrainingBatches, clock: Clock, before: int, planned: int) -> None:
        super().__init__()
        self.feed, self.clock, self.before, self.planned = feed, clock, before, planned

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
        parts = [f"{name} {value:.4g}" for name, value in (logs or {}).items()]
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
