"""The machine's abilities: precision, several GPUs, bit-equal runs."""

import contextlib
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumothorax.errors import UserError, warn
from pneumothorax.model.devices import (
    count_gpus,
    count_hosts,
    count_shares,
    count_tpus,
    list_jax_devices,
    on_tensorflow,
)
from pneumothorax.model.nvidia import has_fast_halves, list_cards
from pneumothorax.recipe import Recipe
from pneumothorax.training.compiled_code import keep_compiled_code
from pneumothorax.training.sessions import describe_processor

XLA_DETERMINISM = "--xla_gpu_deterministic_ops=true"  # read when JAX is first imported
CPU_BFLOAT16 = ("amx_bf16", "avx512_bf16")  # processor flags of bfloat16 arithmetic


def choose_precision(precision: str, *, predicts: bool = False) -> str:
    """Turn 'auto' into the fastest Keras dtype policy of this machine; leave any other as it is.

    Training averages rounding errors out, a prediction keeps them: bfloat16 moved the probability of a real
    radiograph by 0.05 on average and by up to 0.29 (docs/results.md), so that a CPU predicts in float32.

    Args:
        precision: Of the recipe.
        predicts: Whether it is for prediction alone.
    """
    if precision != "auto":
        return precision
    if count_gpus():
        return "mixed_float16" if has_fast_halves(list_cards()) else "float32"
    if not on_tensorflow():  # a TPU computes in bfloat16; JAX on a CPU is no faster in it
        return "mixed_bfloat16" if count_tpus() else "float32"
    if predicts:
        return "float32"
    flags = Path("/proc/cpuinfo")
    words = flags.read_text(encoding="utf-8").split() if flags.is_file() else []
    return "mixed_bfloat16" if any(flag in words for flag in CPU_BFLOAT16) else "float32"


def begin(recipe: Recipe, xla: bool = False) -> None:
    """Seed everything, and ask for bit-equal operations where the recipe does.

    'auto' asks for them on CPUs alone: under TensorFlow they keep Keras from compiling by XLA, which a CPU
    does not miss. Under JAX only the environment can ask for them, and only a GPU needs it.

    Args:
        recipe: Training configuration.
        xla: Whether the user asks for XLA; 'auto' then does not ask for them on CPUs either.
    """
    keras.utils.set_random_seed(recipe.seed)
    gpus, exact = count_gpus(), recipe.deterministic == "true"
    if not on_tensorflow():
        if not gpus + count_tpus():
            warn("JAX without a GPU or TPU: on a CPU TensorFlow trains several times as fast")
        elif exact and gpus and XLA_DETERMINISM not in os.environ.get("XLA_FLAGS", ""):
            warn(f"a resume may not be exact: JAX needs XLA_FLAGS={XLA_DETERMINISM} for it on a GPU")
    elif exact or (recipe.deterministic == "auto" and not gpus and not xla):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def make_strategy(devices: list[str] | None = None) -> Any:
    """Return the strategy that trains on all devices; it must come before anything is built.

    Args:
        devices: Names of the devices to use instead of the GPUs of this machine, or under JAX instead of the
            devices of all hosts.

    Returns:
        A `tf.distribute.MirroredStrategy`, a `keras.distribution.DataParallel`, or None where one device does
        the work.
    """
    if not on_tensorflow():
        return share_batches(devices)
    if devices is None and count_gpus() < 2:
        return None
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def share_batches(devices: list[str] | None = None) -> Any:
    """Let the networks that are built from now on share their batches among all of JAX's devices.

    `keras.distribution.DataParallel` becomes Keras' distribution; JAX also keeps compiled code. Under
    TensorFlow nothing changes.

    Args:
        devices: Names of the devices to use instead of those of all hosts (see `hosts`).

    Returns:
        The distribution, or None where one device does the work.
    """
    if on_tensorflow():
        return None
    keep_compiled_code()
    names = devices or list_jax_devices()
    strategy = None
    if len(names) > 1:
        strategy = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
    keras.distribution.set_distribution(strategy)
    return strategy


def scope_of(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which the strategy's variables are made."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def check_batch(batch_size: int) -> None:
    """Make sure that a batch can be shared equally among the devices of Keras' distribution.

    Args:
        batch_size: Images of a batch on all devices together.

    Raises:
        UserError: It cannot.
    """
    devices = count_shares()
    if batch_size % devices:
        more = -(-batch_size // devices) * devices
        fitting = [size for size in (more - devices, more) if size]
        raise UserError(
            f"batch size {batch_size} for {devices} devices",
            f"a multiple of {devices}",
            f"use --batch-size {' or '.join(map(str, fitting))}",
        )


def predict_on_batch(model: keras.Model, images: np.ndarray) -> Any:
    """Return a network's output for some images, as NumPy arrays; all devices share the work.

    Args:
        model: A network that was built under the present distribution.
        images: Array whose first axis is the images.

    Returns:
        An array, or a dict of arrays, as the network has one output or several.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        seen = model.predict_on_batch(images)
    else:
        seen = _predict_shared(model, images, distribution)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, seen)


def _predict_shared(model: keras.Model, images: np.ndarray, distribution: Any) -> Any:
    """Cut a batch among JAX's devices: Keras' own `predict_on_batch` lets each of them compute all of it."""
    import jax

    filled = -len(images) % count_shares()  # up to a size that all devices share equally
    batch = np.concatenate([images, np.repeat(images[-1:], filled, axis=0)]) if filled else images
    layout = distribution.get_data_layout(batch.shape).backend_layout
    shared = jax.make_array_from_callback(batch.shape, layout, lambda place: batch[place])
    if not hasattr(model, "gathers"):
        everywhere = jax.sharding.NamedSharding(layout.mesh, jax.sharding.PartitionSpec())
        step = model.predict_step

        def gather(state: Any, data: Any) -> Any:
            seen, kept = step(state, data)
            whole = keras.tree.map_structure(
                lambda part: jax.lax.with_sharding_constraint(part, everywhere), seen
            )
            return whole, kept

        model.predict_step, model.predict_function, model.gathers = gather, None, True
    seen = model.predict_on_batch(shared)
    return keras.tree.map_structure(lambda part: part[: len(images)], seen)


def describe(precision: str) -> dict[str, str]:
    """Name the versions that a bit-equal resume depends on."""
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    return {"keras": keras.__version__, backend: version, "numpy": np.__version__, "precision": precision}


def describe_machine() -> str:
    """Name the devices that train: GPUs, TPU cores, or the processor; and the number of hosts."""
    hosts = count_hosts()
    return _describe_host() + (f", on each of {hosts} hosts" if hosts > 1 else "")


def _describe_host() -> str:
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
