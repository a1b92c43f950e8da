"""Memory: bytes of a training step and of a forward pass, and the memory free on the device.

Estimates count tensors of a built network without running it. `model/exhaustion.py` reports their failures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pneumothorax.model.devices import count_gpus, count_tpus, on_tensorflow
from pneumothorax.model.unet import build_model
from pneumothorax.recipe import Recipe

CPU_PIXELS = 1 << 20  # in a prediction batch: 64 images of 128 pixels; twice as many gain 4 %
DEVICE_PIXELS = 1 << 22  # likewise on a GPU or TPU: 64 images of 256 pixels fill it
SHARE = 0.5  # of the free memory for a forward pass: workspace, fragments and copies need the rest
LOSS_MAPS = 8  # masks, probabilities, logits, their logarithms, products and gradients, in float32
READS_INPUT = (
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.BatchNormalization,
    keras.layers.MaxPooling2D,
    keras.layers.Multiply,
)
READS_OUTPUT = (keras.layers.Activation, keras.layers.ReLU, keras.layers.MaxPooling2D)


@dataclass(frozen=True)
class Memory:
    """Bytes of one training step: a constant part, and a part for each image.

    Attributes:
        weights: One float32 copy.
        copies: All copies, the moments and the narrow ones.
        image: Activations, gradients and maps of one image.
        image_unfused: As `image`, if the compiler does not join element-wise operations.
    """

    weights: int
    copies: int
    image: int
    image_unfused: int

    def total(self, batch: int, factor: float = 1.0, *, fused: bool = True) -> float:
        """Return the bytes of a step, the part that grows with the batch times a factor."""
        return self.copies + batch * factor * (self.image if fused else self.image_unfused)


def estimate_training(recipe: Recipe, precision: str) -> Memory:
    """Count the bytes of a training step; `benchmarks/memory.py` describes and measures the parts."""
    model = build_model(recipe, precision, trained=True)
    weights = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) * 4
    copies = 1 + 1 + 2 + 1 + 1  # values, gradients, Adam, EMA, accumulated gradients
    narrow = 0 if precision == "float32" else weights // 2
    kept: dict[int, int] = {}
    unfused, between, largest = 0, 0, 0
    for layer in list_layers(model):
        inputs, outputs = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
        if isinstance(layer, READS_INPUT):
            kept |= {id(tensor): count_bytes(tensor) for tensor in inputs}
        if isinstance(layer, READS_OUTPUT):
            kept |= {id(tensor): count_bytes(tensor) for tensor in outputs}
        between += _between(layer)
        if isinstance(layer, keras.layers.BatchNormalization) and precision != "float32":
            unfused += count_bytes(inputs[0])  # four bytes a value instead of two
        largest = max(largest, sum(map(count_bytes, inputs + outputs)))
    image = sum(kept.values()) + between + largest + LOSS_MAPS * 4 * recipe.size**2
    return Memory(weights, copies * weights + narrow, image, image + unfused)


def estimate_forward(model: keras.Model) -> int:
    """Count the bytes of a forward pass per image: the most that its tensors take at one time.

    A tensor lives from the layer that makes it to the last layer that reads it.
    """
    layers = list(list_layers(model))
    last_use: dict[int, int] = {}
    for number, layer in enumerate(layers):
        last_use |= {id(tensor): number for tensor in keras.tree.flatten(layer.input)}
    alive: dict[int, int] = {}
    most = 0
    for number, layer in enumerate(layers):
        alive |= {id(tensor): count_bytes(tensor) for tensor in keras.tree.flatten(layer.output)}
        most = max(most, sum(alive.values()) + _between(layer))
        alive = {key: count for key, count in alive.items() if last_use.get(key, len(layers)) > number}
    return most


def images_at_once(model: keras.Model) -> int:
    """Return the number of images that a network should predict at a time on this device."""
    pixels = model.input_shape[1] ** 2
    free = free_memory()
    if free is None:
        return max(1, CPU_PIXELS // pixels)
    fit = int(SHARE * free) // estimate_forward(model)
    return floor_to_power(max(1, min(fit, DEVICE_PIXELS // pixels)))


def floor_to_power(number: int) -> int:
    """Return the largest power of two that is not above a number of 1 or more."""
    return 1 << (number.bit_length() - 1)


def free_memory() -> int | None:
    """Return the bytes that Keras can still take of the first GPU or TPU core; None on a CPU."""
    if not count_gpus() + count_tpus():
        return None
    if on_tensorflow():
        import tensorflow as tf
        from tensorflow.python.client import device_lib  # the limit stands nowhere in TensorFlow's public API

        limits = [one.memory_limit for one in device_lib.list_local_devices() if one.device_type == "GPU"]
        return int(limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"])
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"] - stats["bytes_in_use"])


def available_memory() -> int:
    """Return the bytes of main memory available to a new process; 2**63 if the system does not say."""
    path = Path("/proc/meminfo")
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 2**63)


def list_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """List the layers of a network and of the networks inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from list_layers(layer)
        else:
            yield layer


def count_bytes(tensor: keras.KerasTensor) -> int:
    """Return the bytes of one image's part of a tensor."""
    width = 1 if tensor.dtype == "uint8" else np.dtype(tensor.dtype.replace("bfloat16", "float16")).itemsize
    return int(np.prod(tensor.shape[1:])) * width


def _between(layer: keras.Layer) -> int:
    """Return the bytes that a separable convolution makes between its two halves; 0 for any other layer."""
    if not isinstance(layer, keras.layers.SeparableConv2D):
        return 0
    return count_bytes(layer.output) // layer.filters * layer.input.shape[-1]
