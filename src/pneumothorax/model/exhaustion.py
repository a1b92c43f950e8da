"""Turn out-of-memory errors of NumPy, TensorFlow and JAX into one line with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from pneumothorax.errors import UserError
from pneumothorax.model.devices import count_gpus, on_tensorflow
from pneumothorax.recipe import Recipe

SIGNS = ("RESOURCE_EXHAUSTED", "CUDA_ERROR_OUT_OF_MEMORY")  # in the text of a backend's error
DISK = ("No space left on device", "Disk quota exceeded")  # TensorFlow calls a full disk exhausted as well


@contextmanager
def training_memory(recipe: Recipe) -> Iterator[None]:
    """Report out-of-memory errors of training and validation in the block, in one line.

    Raises:
        UserError: The block ran out of memory; the remedy keeps the images of one update.
    """
    with _one_line(_describe("training", recipe.batch_size, recipe.size), _training_remedy(recipe)):
        yield


@contextmanager
def prediction_memory(images: int, size: int) -> Iterator[None]:
    """Report out-of-memory errors of prediction in the block, in one line.

    Args:
        images: Batch size.
        size: Side of the images in pixels.

    Raises:
        UserError: The block ran out of memory.
    """
    remedy = "end other programs that use the memory"
    if count_gpus():
        remedy += " (nvidia-smi lists them), or predict on the CPU with CUDA_VISIBLE_DEVICES=-1"
    with _one_line(_describe("predicting", images, size), remedy):
        yield


def is_exhaustion(error: BaseException) -> bool:
    """Return whether an error means that the memory of the machine or the device is full."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    if any(sign in text for sign in DISK):
        return False
    if on_tensorflow():
        import tensorflow as tf

        if isinstance(error, tf.errors.ResourceExhaustedError):
            return True
        kind = tf.errors.OpError
    elif keras.backend.backend() == "jax":
        import jax

        kind = jax.errors.JaxRuntimeError
    else:
        return False
    return isinstance(error, kind) and any(sign in text for sign in SIGNS)


@contextmanager
def _one_line(found: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_exhaustion(error):
            raise
        raise UserError(found, remedy=remedy) from error


def _describe(stage: str, images: int, size: int) -> str:
    return f"out of memory while {stage} {images} image{'s' * (images > 1)} of {size} pixels at a time"


def _training_remedy(recipe: Recipe) -> str:
    """Return the remedy: a smaller batch, accumulated to the same update."""
    update = recipe.batch_size * recipe.accumulate
    smaller = next((n for n in range(recipe.batch_size - 1, 0, -1) if update % n == 0), None)
    if smaller is None:
        return "use a smaller --size, a smaller --encoder, or --precision mixed_float16, with another --run"
    return (
        f"use --batch-size {smaller} --accumulate {update // smaller} with another --run (as many images an "
        "update), or end other programs that use the memory and run the same command again: it resumes after "
        "the last whole epoch"
    )
