"""Devices of Keras' backend: which backend, how many GPUs, how many devices share a batch."""

import keras

from pneumothorax.model.backend import pin_settings

pin_settings()  # all modules that build a network import this one first


def on_tensorflow() -> bool:
    """Return whether Keras runs on TensorFlow."""
    return bool(keras.backend.backend() == "tensorflow")


def count_gpus() -> int:
    """Count the GPUs of this machine that Keras' backend sees."""
    if on_tensorflow():
        import tensorflow as tf

        return len(tf.config.list_logical_devices("GPU"))
    return _count_jax_devices("gpu")


def count_tpus() -> int:
    """Count the TPU cores of this machine; they are JAX's alone."""
    return _count_jax_devices("tpu")


def count_replicas() -> int:
    """Count the devices that the current `tf.distribute` strategy trains on; 1 without one.

    1 under JAX, where a step is written for the whole batch however many devices share it.
    """
    if not on_tensorflow():
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def count_shares() -> int:
    """Count the devices among which Keras' distribution splits a batch; 1 without one."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def count_hosts() -> int:
    """Count the processes that train together, one on each host; they are JAX's alone."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return int(jax.process_count())


def list_jax_devices() -> list[str]:
    """Name JAX's devices of all hosts, those of one host next to each other, as Keras does: 'tpu:0'."""
    import jax

    ordered = sorted(jax.devices(), key=lambda one: (one.process_index, one.id))
    return [f"{one.platform}:{one.id}" for one in ordered]


def name_cpu() -> str:
    """Name the CPU of this host; among several hosts' CPUs 'cpu:0' is that of the first."""
    if keras.backend.backend() != "jax":
        return "cpu:0"
    import jax

    return f"cpu:{jax.local_devices(backend='cpu')[0].id}"


def on_one_device() -> bool:
    """Return whether TensorFlow computes a network's steps on one device alone, a CPU or a GPU."""
    return on_tensorflow() and count_replicas() == 1


def _count_jax_devices(platform: str) -> int:
    """Count the devices of one kind; Keras' own `list_devices` raises if there are none."""
    if keras.backend.backend() != "jax":
        return 0
    import jax

    return sum(device.platform == platform for device in jax.local_devices())
