"""build_model: a recipe -> its network; the network scales its own input."""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.model.architectures import build_encoder, build_network, find_encoder, find_head
from pneumothorax.model.devices import count_replicas, on_one_device
from pneumothorax.model.encoders import lite
from pneumothorax.model.encoders.table import check_encoder, load_library
from pneumothorax.model.encoders.weights import find_weights, ways_out
from pneumothorax.model.encoders.weights_file import inspect_file, named_for_keras
from pneumothorax.recipe import Recipe
from pneumothorax.workspace import atomic, locked

# Errors of Keras and h5py on a file of weights that is damaged or of another network.
_UNREADABLE = (ValueError, KeyError, OSError, RuntimeError, UserWarning)


def build_model(
    recipe: Recipe, precision: str = "float32", *, trained: bool = False, portable: bool = False
) -> keras.Model:
    """Build the recipe's network: grey uint8 images in, probabilities out.

    Args:
        recipe: Recipe with encoder, its weights, decoder and size.
        precision: A Keras dtype policy; the sigmoid and all after it are float32 in any.
        trained: Weights will be loaded into it, so the encoder's own are not downloaded.
        portable: Use Keras' own layers alone, which other programs know.

    Returns:
        A model from uint8 images of shape (N, S, S, 1), values 0-255, to float32 probabilities of shape
        (N, S, S, 1), values [0, 1]. With a classification head to a dict: those under "probability", and
        under "classification" the probability of shape (N, 1) that the image shows a pneumothorax.

    Raises:
        UserError: There is no such encoder, the size is too small for it, or its weights are missing or do
            not fit.
    """
    check_encoder(recipe.encoder)
    with _policy(precision):
        images = keras.Input((recipe.size, recipe.size, 1), dtype="uint8", name="image")
        mean, deviation = input_scale(recipe.encoder)
        colour = keras.layers.Concatenate(name="grey_to_rgb", dtype="float32")([images] * 3)  # (N, S, S, 3)
        scaled = keras.layers.Normalization(mean=mean, variance=deviation**2, dtype="float32", name="scale")(
            colour
        )
        origin = None if trained else find_weights(recipe)
        network = _build(recipe, "imagenet" if origin is not None and origin.by_keras else None)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = recipe.batch_norm_momentum
                layer.synchronized = count_replicas() > 1  # several devices then compute the same as one
        if not trained:
            bias = find_head(network).bias
            bias.assign(np.full(bias.shape, math.log(recipe.prior / (1 - recipe.prior))))
        if origin is not None and not origin.by_keras:
            _load_encoder(network, recipe, origin.path)
        name = f"{recipe.architecture}_{recipe.encoder}"
        fastest = (lambda network: network) if portable else _fastest
        if not recipe.classification_head:
            return keras.Model(images, _to_probability(fastest(network)(scaled)), name=name)
        both = keras.Model(network.input, [network.output, find_encoder(network).output], name=network.name)
        logits, encoded = fastest(both)(scaled)
        return keras.Model(
            images,
            {"probability": _to_probability(logits), "classification": _to_classification(encoded)},
            name=name,
        )


def _to_probability(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Add the sigmoid of the pixels, in float32."""
    return keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)


def _to_classification(encoded: keras.KerasTensor) -> keras.KerasTensor:
    """Add the classification head to the encoder: mean and maximum of each channel, one sigmoid, float32."""
    mean = keras.layers.GlobalAveragePooling2D(dtype="float32", name="classification_mean")(encoded)
    largest = keras.layers.GlobalMaxPooling2D(dtype="float32", name="classification_max")(encoded)
    pooled = keras.layers.Concatenate(dtype="float32", name="classification_pooled")([mean, largest])
    return keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="classification")(pooled)


def find_encoded(model: keras.Model) -> keras.KerasTensor:
    """Return the encoder's output, of shape (N, h, w, C), in a network of `build_model`."""
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    return find_encoder(network)(model.get_layer("scale").output)


def input_scale(encoder: str) -> tuple[np.ndarray, np.ndarray]:
    """Measure the encoder's own preprocessing of grey values 0-255, which is always linear.

    Returns:
        mean and deviation, float arrays of shape (3,): the encoder expects (grey - mean) / deviation.
    """
    preprocess = load_library().get_preprocessing(encoder)
    black, white = (np.asarray(preprocess(np.full((1, 1, 3), v, "float32"))).reshape(3) for v in (0.0, 255.0))
    slope = (white - black) / 255
    return -black / slope, 1 / slope


class _WeightsInMemory(io.BytesIO):
    """A file of weights in memory; Keras judges it by the end of its name."""

    def __str__(self) -> str:
        return "memory.weights.h5"


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights in one step; the inverse of `load_weights`.

    They are put together in memory: on a full disk HDF5 prints tracebacks, and may crash the process.

    Args:
        model: The network.
        path: A file name ending in ``.weights.h5``.
    """
    whole = _WeightsInMemory()
    model.save_weights(whole)
    with atomic(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def load_weights(model: keras.Model, path: Path) -> None:
    """Read weights into the network that wrote them; the inverse of `save_weights`.

    Raises:
        UserError: There is no such file, or it belongs to another network.
    """
    if not path.is_file():
        raise UserError(f"no weights {path}", "the weights of a trained fold", "run `pneumothorax train`")
    try:
        _load(model, path)
    except _UNREADABLE as error:
        raise UserError(
            f"weights {path} do not fit {model.name} ({_first_line(error)})",
            "weights of the same architecture, encoder and decoder",
        ) from None


def _build(recipe: Recipe, weights: str | None) -> keras.Model:
    """Build the network from scaled images to logits; report weights that are unavailable."""
    try:
        with _one_at_a_time() if weights else contextlib.nullcontext():
            return build_network(recipe, weights)
    except Exception as error:
        if isinstance(error, ValueError) and "Input size" in str(error):
            raise UserError(
                f"encoder {recipe.encoder} at size {recipe.size} ({_first_line(error)})",
                "a size that it takes",
                "use a larger --size, or another --encoder",
            ) from None
        # Keras wraps the error of a failed download in a plain Exception that names the address.
        if (weights and type(error) is Exception) or isinstance(error, OSError):
            raise UserError(
                f"the ImageNet weights of {recipe.encoder} cannot be downloaded ({_first_line(error)})",
                remedy=ways_out(recipe),
            ) from error
        raise


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Serialise processes that train side by side: Keras downloads to the file's own name."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):  # Keras then downloads to a folder of its own choice
            home.mkdir(parents=True, exist_ok=True)
            opened.enter_context(locked(home, f"another command downloads weights to {home}"))
        yield


def _fastest(network: keras.Model) -> keras.Model:
    """Use TensorFlow's fused kernels where they apply."""
    if not on_one_device():
        return network
    from pneumothorax.model.fast import speed_up

    return speed_up(network)


def _load_encoder(network: keras.Model, recipe: Recipe, path: Path) -> None:
    """Load a local weights file into the encoder part of the network."""
    suffix, count = inspect_file(path)
    whole, part = build_encoder(recipe)
    expected = f"the {len(whole.weights)} arrays of {recipe.encoder} without its top"
    remedy = "name the weights of this encoder, or the --encoder that they are of"
    if count != len(whole.weights):
        raise UserError(
            f"{path} does not fit the encoder {recipe.encoder}: it holds {count} arrays", expected, remedy
        )
    try:
        if suffix == ".pth":
            whole.set_weights(lite.read_weights(path))
        else:
            with named_for_keras(path, suffix) as named:
                _load(whole, named)
    except _UNREADABLE as error:
        raise UserError(
            f"{path} does not fit the encoder {recipe.encoder} ({_first_line(error)})", expected, remedy
        ) from None
    if not all(np.isfinite(array).all() for array in whole.get_weights()):
        raise UserError(f"{path} holds values that are no finite numbers", expected, "copy it again")
    find_encoder(network).set_weights(part.get_weights())


def _load(model: keras.Model, path: Path) -> None:
    """Load weights, and raise where Keras would leave some uninitialised with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Skipping|A total of", category=UserWarning)
        model.load_weights(path)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Set Keras' dtype policy for the layers that are built inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]
