"""Encoders that segmentation-models lacks, registered with it: Xception, DenseNets, Lite0.

`keras.applications.Xception` does not pad the two convolutions of its stem ("valid"), so its feature maps
are a few pixels short of size/2, size/4 ...; segmentation-models therefore lists it as unsupported. With
"same" padding there the ImageNet weights still fit and the skips line up. Its own DenseNets name their layers
with slashes, which Keras 3 refuses; those of `keras.applications` are the same networks.
"""

import contextlib
import io
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras

from pneumothorax.errors import UserError
from pneumothorax.model.encoders import lite

STEM = ("block1_conv1", "block1_conv2")
# The last feature map of each resolution: 1/16, 1/8, 1/4, 1/2 of the input's side.
SKIPS = ("block13_sepconv2_bn", "block4_sepconv2_bn", "block3_sepconv2_bn", "block2_sepconv2_bn")

DENSENETS = ("densenet121", "densenet169", "densenet201")


def xception(
    input_shape: tuple[int, int, int] | None = None, weights: str | None = None, **_: Any
) -> keras.Model:
    """Build an Xception without top whose feature maps are exact halves of its input.

    Args:
        input_shape: (H, W, 3), with H and W divisible by 32.
        weights: 'imagenet', or None for random weights.

    Returns:
        A model from float images in [-1, 1], shape (N, H, W, 3), to (N, H/32, W/32, 2048).
    """
    # Without a shape, because the original's stem refuses sides below 71.
    original = keras.applications.Xception(include_top=False, weights=weights)

    def same_padded(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name in STEM:
            config["padding"] = "same"
        return type(layer).from_config(config)

    images = keras.Input(input_shape or (None, None, 3))
    model = keras.models.clone_model(original, input_tensors=images, clone_function=same_padded)
    model.set_weights(original.get_weights())
    return model


def preprocess(images: Any, **_: Any) -> Any:
    """Scale images from 0-255 to [-1, 1], as the ImageNet weights expect them."""
    return keras.applications.xception.preprocess_input(images)


def densenet(name: str) -> tuple[Callable[..., keras.Model], Callable[..., Any]]:
    """Return the builder of Keras' DenseNet of this name, such as 'densenet121', and its preprocessing."""
    original = getattr(keras.applications, name.replace("densenet", "DenseNet"))

    def make(input_shape: Any = None, weights: str | None = None, **_: Any) -> keras.Model:
        return original(include_top=False, weights=weights, input_shape=input_shape)

    return make, lambda images, **_: keras.applications.densenet.preprocess_input(images)


def load_library() -> ModuleType:
    """Import segmentation-models under Keras 3 and register our encoders with it.

    The library reads ``SM_FRAMEWORK`` on import and prints a greeting to stdout, where results belong.
    """
    if keras.backend.backend() == "tensorflow":
        os.environ["SM_FRAMEWORK"] = "tf.keras"
    else:  # under plain Keras 3 the library looks for names of Keras 2
        os.environ["SM_FRAMEWORK"] = "keras"
        keras.utils.generic_utils = keras.utils
    with contextlib.redirect_stdout(io.StringIO()):
        import segmentation_models
        from segmentation_models.backbones.backbones_factory import BackbonesFactory

    BackbonesFactory._models_update["xception"] = [xception, preprocess]
    BackbonesFactory._default_feature_layers["xception"] = SKIPS
    BackbonesFactory._models_update["efficientnetlite0"] = [lite.efficientnetlite0, lite.preprocess]
    BackbonesFactory._default_feature_layers["efficientnetlite0"] = lite.SKIPS
    for name in DENSENETS:
        BackbonesFactory._models_update[name] = list(densenet(name))
    if "xception" in BackbonesFactory._models_delete:
        BackbonesFactory._models_delete.remove("xception")
    return segmentation_models


def encoder_names() -> list[str]:
    """List the encoders that `build_model` accepts."""
    load_library()
    from segmentation_models.backbones.backbones_factory import Backbones

    return sorted(Backbones.models)


def check_encoder(name: str) -> None:
    """Check that there is an encoder of this name.

    Raises:
        UserError: There is no such encoder.
    """
    if name not in encoder_names():
        raise UserError(f"encoder {name!r}", "one of " + ", ".join(encoder_names()))
