"""What the machine can do: precision, several GPUs, bit-equal runs."""

import contextlib
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumothorax.errors import warn
from pneumothorax.model.devices import count_gpus, count_tpus, on_tensorflow
from pneumothorax.model.nvidia import has_fast_halves, list_cards
from pneumothorax.recipe import Recipe
from pneumothorax.training.sessions import describe_processor

XLA_DETERMINISM = "--xla_gpu_deterministic_ops=true"  # read when JAX is first imported
CPU_BFLOAT16 = ("amx_bf16", "avx512_bf16")  # processor flags of bfloat16 arithmetic


def choose_precision(precision: str) -> str:
    """Turn 'auto' into the fastest Keras dtype policy of this machine; leave any other as it is."""
    if precision != "auto":
        return precision
    if count_gpus():
        return "mixed_float16" if has_fast_halves(list_cards()) else "float32"
    if not on_tensorflow():  # a TPU computes in bfloat16; JAX on a CPU is no faster in it
        return "mixed_bfloat16" if count_tpus() else "float32"
    flags = Path("/proc/cpuinfo")
    words = flags.read_text(encoding="utf-8").split() if flags.is_file() else []
    return "mixed_bfloat16" if any(flag in words for flag in CPU_BFLOAT16) else "float32"


def begin(recipe: Recipe) -> None:
    """Seed everything, and ask for bit-equal operations where the recipe does.

    'auto' asks for them on CPUs alone: under TensorFlow they keep Keras from compiling by XLA, which a CPU
    does not miss. Under JAX only the environment can ask for them, and only a GPU needs it.
    """
    keras.utils.set_random_seed(recipe.seed)
    gpus, exact = count_gpus(), recipe.deterministic == "true"
    if not on_tensorflow():
        if not gpus + count_tpus():
            warn("JAX without a GPU or TPU: on a CPU TensorFlow trains several times as fast")
        elif exact and gpus and XLA_DETERMINISM not in os.environ.get("XLA_FLAGS", ""):
            warn(f"a resume may not be exact: JAX needs XLA_FLAGS={XLA_DETERMINISM} for it on a GPU")
    elif exact or (recipe.deterministic == "auto" and not gpus):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        if gpus:
            warn("--deterministic true: without XLA a training step takes several times as long on a GPU")


def make_strategy(devices: list[str] | None = None) -> Any:
    """Return the strategy that trains on all GPUs of this machine.

    Args:
        devices: TensorFlow's names of the devices to use instead of all GPUs.

    Returns:
        A `tf.distribute.MirroredStrategy`, or None where one device does the work.
    """
    if not on_tensorflow() or (devices is None and count_gpus() < 2):
        return None
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def scope_of(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which the strategy's variables are made."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def describe(precision: str) -> dict[str, str]:
    """Name the versions that a bit-equal resume depends on."""
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    return {"keras": keras.__version__, backend: version, "numpy": np.__version__, "precision": precision}


def describe_machine() -> str:
    """Name what trains: the GPUs, the number of TPU cores, or else the processor."""
    if tpus := count_tpus():
        return f"{tpus} TPU cores"
    if not (gpus := count_gpus()):
        return describe_processor()
    if on_tensorflow():
        import tensorflow as tf

        first = tf.config.list_physical_devices("GPU")[0]
        name = tf.config.experimental.get_device_details(first).get("device_name", "GPU")
    else:
        import jax

        name = jax.local_devices()[0].device_kind
    return f"{gpus} x {name}"
