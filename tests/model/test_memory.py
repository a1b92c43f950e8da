"""Memory: estimates that grow as they must, the batch that follows the device, and errors of too little."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf

from pneumothorax.errors import UserError
from pneumothorax.model import exhaustion, memory
from pneumothorax.recipe import Recipe

TINY = Recipe(size=64, encoder="resnet18", encoder_weights="none", decoder_filters=(16, 8, 8, 8, 8))
EXHAUSTED = "OOM when allocating tensor with shape[16,512,512,32]\non GPU:0"


def make_chain():
    """Build a network whose layers make 4, 16 and 4 bytes a pixel, with a skip over the second."""
    images = keras.Input((32, 32, 1))
    first = keras.layers.Conv2D(1, 1, name="first")(images)
    wide = keras.layers.Conv2D(4, 1, name="wide")(first)
    last = keras.layers.Conv2D(1, 1, name="last")(wide)
    return keras.Model(images, keras.layers.Add(name="sum")([first, last]))


# Estimates


def test_a_tensor_of_the_forward_pass_lives_from_its_layer_to_its_last_reader():
    # When `last` works, its output (4), the wide tensor (16) and the skip (4) are there; the images are not.
    assert memory.estimate_forward(make_chain()) == 32 * 32 * (4 + 16 + 4)


@pytest.mark.slow
def test_a_forward_pass_takes_less_than_a_training_step_and_half_of_it_in_half_precision():
    whole = memory.estimate_training(TINY, "float32")
    forward = memory.estimate_forward(memory.build_model(TINY, "float32"))
    assert 0 < forward < whole.image / 3
    half = memory.estimate_forward(memory.build_model(TINY, "mixed_bfloat16"))
    assert 0.45 * forward < half < 0.75 * forward


@pytest.mark.slow
def test_a_training_step_grows_with_the_batch_and_the_pixels():
    small, large = (memory.estimate_training(replace(TINY, size=size), "float32") for size in (64, 128))
    assert small.weights == large.weights
    assert large.image == pytest.approx(4 * small.image, rel=0.06)  # padding grows less
    assert small.total(8) - small.total(4) == 4 * small.image
    assert small.total(4, fused=False) >= small.total(4)


# The batch of a prediction


@pytest.mark.parametrize(("size", "expected"), [(32, 1024), (128, 64), (512, 4), (2048, 1)])
def test_on_a_cpu_a_batch_has_as_many_pixels_as_ever(monkeypatch, size, expected):
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert memory.images_at_once(SimpleNamespace(input_shape=(None, size, size, 1))) == expected


@pytest.mark.parametrize(
    ("images_that_fit", "expected"), [(0.5, 1), (1, 1), (2.9, 1), (40, 16), (10**9, 4096)]
)
def test_on_a_device_a_batch_is_the_power_of_two_that_half_its_memory_holds(
    monkeypatch, images_that_fit, expected
):
    model = make_chain()
    free = int(images_that_fit * memory.estimate_forward(model))
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    assert memory.images_at_once(model) == expected


def test_the_memory_of_a_gpu_is_its_limit_less_what_is_taken(monkeypatch):
    from tensorflow.python.client import device_lib

    monkeypatch.setattr(memory, "count_gpus", lambda: 1)
    devices = [
        SimpleNamespace(device_type=kind, memory_limit=limit) for kind, limit in (("CPU", 1), ("GPU", 9))
    ]
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: devices)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: {"current": 2, "peak": 5})
    assert memory.free_memory() == 7


def test_the_memory_of_a_jax_device_is_its_limit_less_what_is_taken(monkeypatch):
    monkeypatch.setattr(memory, "count_tpus", lambda: 8)
    monkeypatch.setattr(memory, "on_tensorflow", lambda: False)
    stats = {"bytes_limit": 9, "bytes_in_use": 2}
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: stats)])
    assert memory.free_memory() == 7


def test_a_cpu_has_no_memory_of_its_own_and_the_machine_some():
    assert memory.free_memory() is None
    assert 2**20 < memory.available_memory() <= 2**63


# Errors


def jax_error(text):
    return jax.errors.JaxRuntimeError(text)


FULL = {
    "tensorflow": tf.errors.ResourceExhaustedError(None, None, EXHAUSTED),
    "driver": tf.errors.InternalError(
        None, None, "failed to allocate: CUDA_ERROR_OUT_OF_MEMORY: out of memory"
    ),
    "numpy": np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("float32")),
    "python": MemoryError(),
}
OTHER = {
    "disk": tf.errors.ResourceExhaustedError(None, None, "events.out; No space left on device"),
    "shape": tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"),
    "value": ValueError("RESOURCE_EXHAUSTED of another kind"),
}


def on_jax(monkeypatch):
    monkeypatch.setattr(exhaustion, "on_tensorflow", lambda: False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_memory_is_one_line(error):
    with pytest.raises(UserError) as caught, exhaustion.training_memory(Recipe(size=512)):
        raise error
    assert str(caught.value).startswith(
        "out of memory while training 16 images of 512 pixels at a time; use "
    )
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", OTHER.values(), ids=OTHER)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, exhaustion.training_memory(Recipe()):
        raise error
    assert caught.value is error


def test_jax_has_errors_of_its_own(monkeypatch):
    on_jax(monkeypatch)
    full = jax_error("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")
    line = "out of memory while predicting 1 image of"
    with pytest.raises(UserError, match=line), exhaustion.prediction_memory(1, 64):
        raise full
    other = jax_error("INVALID_ARGUMENT: shapes")
    with pytest.raises(jax.errors.JaxRuntimeError), exhaustion.prediction_memory(1, 64):
        raise other


@pytest.mark.parametrize(
    ("batch", "accumulate", "flags"),
    [
        (16, 1, "--batch-size 8 --accumulate 2"),
        (8, 2, "--batch-size 4 --accumulate 4"),
        (6, 2, "--batch-size 4 --accumulate 3"),
        (15, 1, "--batch-size 5 --accumulate 3"),
        (2, 1, "--batch-size 1 --accumulate 2"),
    ],
)
def test_the_remedy_keeps_the_images_of_an_update(batch, accumulate, flags):
    recipe = Recipe(batch_size=batch, accumulate=accumulate)
    line = f"use {flags} with another --run"
    with pytest.raises(UserError, match=line), exhaustion.training_memory(recipe):
        raise MemoryError
    smaller, times = flags.split()[1::2]
    assert int(smaller) * int(times) == batch * accumulate


def test_a_single_image_that_does_not_fit_asks_for_a_smaller_one():
    line, recipe = "training 1 image of 128 pixels at a time; use a smaller --size", Recipe(batch_size=1)
    with pytest.raises(UserError, match=line), exhaustion.training_memory(recipe):
        raise MemoryError


@pytest.mark.parametrize(("gpus", "remedy"), [(0, "the memory"), (1, "nvidia-smi.*CUDA_VISIBLE_DEVICES=-1")])
def test_the_remedy_of_a_prediction_is_another_device_where_there_is_one(monkeypatch, gpus, remedy):
    monkeypatch.setattr(exhaustion, "count_gpus", lambda: gpus)
    with pytest.raises(UserError, match=remedy), exhaustion.prediction_memory(16, 64):
        raise MemoryError
