"""Keras callbacks: what an epoch draws, the stop at a loss that is no number, the progress of a long run."""

import sys
import time

import keras
import numpy as np
from tqdm import tqdm

from pneumothorax.data.batches import fixed_batches, gather
from pneumothorax.errors import UserError
from pneumothorax.model.scores import plain_names
from pneumothorax.training.feed import Feed


class EpochDraw(keras.callbacks.Callback):
    """Draws each epoch's images when it begins, and gives the scores of its end their plain names.

    It must come first.

    Args:
        feed: What training draws from.
        hard: Knows which negatives to draw more often, or None.
    """

    def __init__(self, feed: Feed, hard: "HardNegatives | None" = None) -> None:
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
        plain["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs.clear()
        logs.update(plain)


class HardNegatives(keras.callbacks.Callback):
    """Remembers the negatives in which the last epoch that drew them found a pneumothorax.

    Each epoch ends with a look at the negatives it has drawn, as they are in the cache: one is hard when any
    pixel of it is above one half.

    Args:
        feed: What training draws from.

    Attributes:
        hard: Their rows.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self.hard: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look."""
        drawn = np.sort(np.concatenate(self.feed.batches))
        drawn = drawn[~self.feed.positive[drawn]]
        wrong = set(self.hard) - set(drawn.tolist())
        if len(drawn):
            for rows in fixed_batches(drawn, self.feed.recipe.batch_size):
                images, _ = gather(self.feed.cache, rows)
                seen = self.model.predict_on_batch(images)
                maps = keras.ops.convert_to_numpy(seen["probability"] if isinstance(seen, dict) else seen)
                wrong.update(rows[maps.max(axis=(1, 2, 3)) > 0.5].tolist())
        self.hard = sorted(wrong)
        if logs is not None:
            logs["hard_negatives"] = float(len(self.hard))


class TimeLimit(keras.callbacks.Callback):
    """Ends training after an epoch when the next would end too late; the state stays resumable.

    It must come after `resume.ExactResume`, which would else take training for finished.

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
    """A bar for each epoch and a line at its end, on stderr.

    Args:
        feed: Knows how many batches the epoch has.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begin the epoch's bar."""
        self.began = time.perf_counter()
        title = f"epoch {epoch + 1}/{self.params['epochs']}"
        self.bar = tqdm(total=len(self.feed), desc=title, unit="batch", leave=False, disable=None)

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
