"""Begin a Kaggle session: choose Keras' backend, report the machine, count the hours."""

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from pneumothorax import mounts
from pneumothorax.errors import UserError
from pneumothorax.model.backend import choose_backend

TPU_HOURS = 8.5  # Kaggle ends a session with a TPU after 9, any other after 12
BEGAN = time.monotonic()  # imported at a notebook's start, so about when the session began


def begin(accelerator: str) -> None:
    """Choose Keras' backend; print versions, devices, free disk and inputs.

    Keras runs on JAX for a TPU, since TensorFlow has CPU support alone in Kaggle's TPU image. With 'cpu' it
    runs on TensorFlow, or as KERAS_BACKEND says.

    Args:
        accelerator: 'gpu', 'tpu' or 'cpu', as the notebook needs.

    Raises:
        UserError: The session lacks the GPU or TPU, a package is missing, Keras was imported
            on another backend before, or the accelerator is unknown.
    """
    if accelerator not in ("gpu", "tpu", "cpu"):
        raise UserError(f"accelerator {accelerator!r}", "'gpu', 'tpu' or 'cpu'")
    backend = _choose_backend(accelerator)
    import keras

    kind = "TPU" if accelerator == "tpu" else "GPU"
    version, names, reason = _list_devices(backend, kind.lower())
    root, working = mounts.input_root(), mounts.working()
    working.mkdir(parents=True, exist_ok=True)
    places = (working, Path(tempfile.gettempdir()))
    free = [f"{shutil.disk_usage(folder).free / 1e9:.0f} GB in {folder}" for folder in places]
    for name, value in {
        "Python": sys.version.split()[0],
        {"jax": "JAX", "tensorflow": "TensorFlow"}[backend]: version,
        "Keras": keras.__version__,
        kind: ", ".join(f"{count} x {name}" for name, count in Counter(names).items()) or "none",
        "free disk": ", ".join(free),
        "inputs": ", ".join(path.relative_to(root).as_posix() for path in mounts.list_mounts()) or "none",
    }.items():
        print(f"{name:<15} {value}")
    if accelerator == "tpu" and not names:
        raise UserError(
            f"JAX sees no TPU in this session{reason}",
            "the accelerator TPU v5e-8 and its own image",
            "choose TPU v5e-8 in the notebook's settings, with the latest environment instead of a pinned "
            "one, or set ACCELERATOR to 'gpu' or 'cpu'",
        )
    if accelerator == "gpu" and not names:
        raise UserError(
            "TensorFlow sees no GPU in this session",
            "the accelerator GPU T4 x2",
            "choose GPU T4 x2 in the notebook's settings, or set ACCELERATOR to 'cpu' for a try",
        )


def most_hours(hours: float, accelerator: str) -> float:
    """Return the hours that a session may train: those asked for, or on a TPU at most `TPU_HOURS`."""
    return min(hours, TPU_HOURS) if accelerator == "tpu" else hours


def hours_left(hours: float, accelerator: str = "gpu") -> float:
    """Return the hours left of those that began with the session; a few seconds if none are.

    Args:
        hours: Hours from the session's start; limited by `most_hours`.
        accelerator: 'gpu', 'tpu' or 'cpu'.
    """
    return max(0.001, most_hours(hours, accelerator) - (time.monotonic() - BEGAN) / 3600)


def _choose_backend(accelerator: str) -> str:
    """Set and return the backend that Keras will run on, once it is known to be installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is first imported
    if accelerator == "tpu":
        os.environ["KERAS_BACKEND"] = "jax"
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    choose_backend()
    if backend not in ("jax", "tensorflow"):
        raise UserError(f"KERAS_BACKEND={backend}", "tensorflow or jax")
    for name in (backend, "keras"):
        if find_spec(name) is None:
            raise UserError(
                f"{name} is not installed in this session",
                "Kaggle's own image for the accelerator",
                "choose the latest environment in the notebook's settings instead of a pinned one",
            )
    if "keras" in sys.modules and (there := sys.modules["keras"].backend.backend()) != backend:
        raise UserError(
            f"Keras runs on {there} in this session already",
            f"{backend}, for ACCELERATOR = {accelerator!r}",
            "restart the session, and run the notebook from its first cell",
        )
    return backend


def _list_devices(backend: str, kind: str) -> tuple[str, list[str], str]:
    """List the devices of one kind.

    Args:
        backend: 'tensorflow' or 'jax'.
        kind: 'gpu' or 'tpu'.

    Returns:
        The backend's version, each device's name, and why JAX cannot reach its devices, '' if it can.
    """
    if backend == "jax":
        import jax

        try:
            devices = [one.device_kind for one in jax.devices() if one.platform == kind]
        except RuntimeError as error:  # a TPU is asked for in JAX_PLATFORMS, or held by another process
            return jax.__version__, [], f" ({(str(error).splitlines() or ['no reason given'])[0][:200]})"
        return jax.__version__, devices, ""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    devices = [
        details(one).get("device_name", one.name) for one in tf.config.list_physical_devices(kind.upper())
    ]
    return tf.__version__, devices, ""
