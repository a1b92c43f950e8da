"""DenseNets of `keras.applications`: the library's have slashes in layer names, which Keras 3 refuses."""

from collections.abc import Callable
from typing import Any

import keras

import pneumothorax.model.devices  # noqa: F401  # pins Keras' settings

DENSENETS = ("densenet121", "densenet169", "densenet201")


def densenet(name: str) -> Callable[..., keras.Model]:
    """Return the builder of Keras' DenseNet of this name, such as 'densenet121'."""
    original = getattr(keras.applications, name.replace("densenet", "DenseNet"))

    def make(input_shape: Any = None, weights: str | None = None, **_: Any) -> keras.Model:
        return original(include_top=False, weights=weights, input_shape=input_shape)

    return make


def preprocess(images: Any, **_: Any) -> Any:
    """Scale images from 0-255 by ImageNet's means and deviations, as the weights expect them."""
    return keras.applications.densenet.preprocess_input(images)
