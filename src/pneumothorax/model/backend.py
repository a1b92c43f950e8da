"""What Keras runs on, chosen and checked before it is imported; and its settings, pinned once it is."""

import os
import sys
from importlib.util import find_spec

from pneumothorax.errors import UserError

# How to install each backend that this package is tested on.
BACKENDS = {"tensorflow": "pip install -e '.[tensorflow]', or '.[gpu]'", "jax": "pip install -e '.[jax]'"}
LEGACY = "TF_USE_LEGACY_KERAS"  # makes tf.keras the Keras 2 of another package


def choose_backend() -> None:
    """Name what Keras runs on where the user has not: TensorFlow, or JAX where that alone is installed.

    TensorFlow reads the environment when it is first imported, Keras too.
    """
    if not os.environ.get("KERAS_BACKEND"):
        alone = find_spec("tensorflow") is None and find_spec("jax") is not None
        os.environ["KERAS_BACKEND"] = "jax" if alone else "tensorflow"
    if _asks_for_legacy() and "tensorflow" not in sys.modules:
        os.environ[LEGACY] = "0"


def check_backend() -> None:
    """Check that Keras can run on what the environment names.

    Raises:
        UserError: It is no backend of this package's, it is not installed, Keras already runs on another in
            this process, or TensorFlow was imported with Keras 2.
    """
    name = os.environ["KERAS_BACKEND"]
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={name}", " or ".join(BACKENDS), "set it to one of them, or unset it")
    if name not in sys.modules and find_spec(name) is None:
        raise missing(name)
    if "keras" in sys.modules and (running := sys.modules["keras"].backend.backend()) != name:
        raise UserError(
            f"KERAS_BACKEND={name} where Keras already runs on {running}",
            "one backend in a process",
            "set it before Keras is imported: start Python, or the notebook's kernel, again",
        )
    if name == "tensorflow" and _asks_for_legacy():
        raise UserError(
            f"{LEGACY}={os.environ[LEGACY]} when TensorFlow was imported: its Keras is Keras 2",
            "Keras 3",
            "unset it and start Python, or the notebook's kernel, again",
        )


def missing(name: str) -> UserError:
    """Make the error of a backend that is not installed."""
    ways = " or ".join(
        f"{title} ({BACKENDS[key]})" for key, title in (("tensorflow", "TensorFlow"), ("jax", "JAX"))
    )
    return UserError(
        f"{name}, on which Keras is to run, is not installed",
        ways,
        "KERAS_BACKEND=tensorflow or jax chooses where both are there",
    )


def pin_settings() -> None:
    """Give Keras the settings that the networks are written for, whatever the user's keras.json says."""
    import keras

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def _asks_for_legacy() -> bool:
    return os.environ.get(LEGACY) in ("1", "true", "True")
