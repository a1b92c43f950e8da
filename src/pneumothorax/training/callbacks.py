"""Keras callbacks: images of an epoch, hard negatives, averaged weights, the ends by Ctrl-C and by NaN.

Those that look at each batch say that they are `async_safe`: Keras then calls them in threads of its own,
once the device has computed the batch, and meanwhile asks for the next steps.
"""

import keras
import numpy as np

from pneumothorax import interrupts
from pneumothorax.data.batches import full_batches, gather
from pneumothorax.errors import UserError
from pneumothorax.model.metrics import plain_names
from pneumothorax.training.feed import TrainingBatches
from pneumothorax.training.hardware import predict_on_batch


class Interruptible(keras.callbacks.CallbackList):
    """Keras' list of callbacks, which ends training between two batches after a Ctrl-C.

    A callback could end it as well, but only in the threads of the others, or by keeping them from theirs.

    Args:
        callbacks: Callbacks for Keras.
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
        feed: Training batches.
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
        feed: Training batches.

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
