"""Xception with feature maps of exact halves.

`keras.applications.Xception` does not pad the two convolutions of its stem ("valid"), so its feature maps
are a few pixels short of size/2, size/4 ...; segmentation-models therefore lists it as unsupported. With
"same" padding there the ImageNet weights still fit and the skips line up.
"""

from typing import Any

import keras

import pneumothorax.model.devices  # noqa: F401  # pins Keras' settings

STEM = ("block1_conv1", "block1_conv2")
# The last feature map of each resolution: 1/16, 1/8, 1/4, 1/2 of the input's side.
SKIPS = ("block13_sepconv2_bn", "block4_sepconv2_bn", "block3_sepconv2_bn", "block2_sepconv2_bn")


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
