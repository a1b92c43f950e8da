"""The table of encoders that segmentation-models lacks, and the one door to that library.

A new encoder is a module with its builder and a line here; `weights` has the sources of ImageNet weights that
Keras does not download by itself.
"""

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras

from pneumothorax.errors import UserError
from pneumothorax.model.encoders import densenet, lite, xception


@dataclass(frozen=True)
class Encoder:
    """An encoder without its classification layers.

    Attributes:
        build: Function of input_shape and weights that returns the network.
        preprocess: Function that scales images from 0-255.
        skips: Names of the last layers at 1/16, 1/8, 1/4 and 1/2 of the input's side; the library's own if
            empty.
    """

    build: Callable[..., keras.Model]
    preprocess: Callable[..., Any]
    skips: tuple[str, ...] = ()


ENCODERS = {
    "xception": Encoder(xception.xception, xception.preprocess, xception.SKIPS),
    "efficientnetlite0": Encoder(lite.efficientnetlite0, lite.preprocess, lite.SKIPS),
    **{name: Encoder(densenet.densenet(name), densenet.preprocess) for name in densenet.DENSENETS},
}


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

    for name, encoder in ENCODERS.items():
        BackbonesFactory._models_update[name] = [encoder.build, encoder.preprocess]
        if encoder.skips:
            BackbonesFactory._default_feature_layers[name] = encoder.skips
        if name in BackbonesFactory._models_delete:
            BackbonesFactory._models_delete.remove(name)
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
