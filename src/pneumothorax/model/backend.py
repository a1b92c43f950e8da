"""Choose and check Keras' backend before Keras is imported, and pin its settings afterwards."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.model.quiet_import import import_quietly

# Install commands of the tested backends.
BACKENDS = {"tensorflow": "pip install -e '.[tensorflow]', or '.[gpu]'", "jax": "pip install -e '.[jax]'"}
LEGACY = "TF_USE_LEGACY_KERAS"  # makes tf.keras the Keras 2 of another package
LIMITS = ("max_epochs", "max_steps_per_epoch")  # of any training, "for debugging"
# Values that Keras accepts in a keras.json; it fails with a traceback at any other.
_SETTINGS = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}


def choose_backend() -> None:
    """Set Keras' backend if the user has not: TensorFlow, or JAX if only that is installed.

    TensorFlow reads the environment when it is first imported, Keras too.
    """
    if not os.environ.get("KERAS_BACKEND"):
        alone = find_spec("tensorflow") is None and find_spec("jax") is not None
        os.environ["KERAS_BACKEND"] = "jax" if alone else "tensorflow"
    if _asks_for_legacy() and "tensorflow" not in sys.modules:
        os.environ[LEGACY] = "0"
    for name in LIMITS:
        os.environ.pop(f"KERAS_{name.upper()}", None)
    os.environ["KERAS_NNX_ENABLED"] = "0"  # other variables than Keras' own, under JAX
    import_quietly()


def check_backend() -> None:
    """Check that Keras can run on the backend in the environment.

    Raises:
        UserError: The backend is unsupported or not installed, Keras already runs on another in
            this process, TensorFlow was imported with Keras 2, or Keras cannot read the user's keras.json.
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
    if "keras" not in sys.modules:
        _check_file()


def missing(name: str) -> UserError:
    """Return the error for a backend that is not installed."""
    ways = " or ".join(
        f"{title} ({BACKENDS[key]})" for key, title in (("tensorflow", "TensorFlow"), ("jax", "JAX"))
    )
    return UserError(
        f"{name}, on which Keras is to run, is not installed",
        ways,
        "KERAS_BACKEND=tensorflow or jax chooses where both are there",
    )


def pin_settings() -> None:
    """Give Keras the settings that the networks expect, instead of those in the user's keras.json."""
    import keras

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy("float32")  # Keras keeps its first one
    for name in LIMITS:
        if remove := getattr(keras.config, f"set_{name}", None):  # not in every Keras 3
            remove(None)


def _check_file() -> None:
    """Check the user's keras.json, which Keras reads when it is imported.

    Raises:
        UserError: Keras would fail with a traceback.
    """
    home = Path.home()  # below as in Keras
    folder = os.environ.get("KERAS_HOME", f"{home if os.access(home, os.W_OK) else '/tmp'}/.keras")
    path = Path(folder, "keras.json").expanduser()
    if not path.exists():
        return
    remedy = "correct the file, or delete it: its settings are not used here"
    try:
        values: Any = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})", "Keras' settings", remedy) from None
    except (ValueError, RecursionError):  # Keras ignores it
        return
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no settings by name", "Keras' settings", remedy)
    for name, choices in _SETTINGS.items():
        if name in values and values[name] not in choices:
            raise UserError(f"{name} {values[name]!r} in {path}", f"one of {', '.join(choices)}", remedy)
    if not isinstance(values.get("epsilon", 0.0), float):
        raise UserError(f"epsilon {values['epsilon']!r} in {path}", "a number such as 1e-7", remedy)


def _asks_for_legacy() -> bool:
    return os.environ.get(LEGACY) in ("1", "true", "True")
