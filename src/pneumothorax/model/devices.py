"""What Keras' backend computes on: which one it is, how many GPUs it sees, how many devices share a batch."""

import keras


def on_tensorflow() -> bool:
    """Tell whether Keras runs on TensorFlow."""
    return bool(keras.backend.backend() == "tensorflow")


def count_gpus() -> int:
    """Count the GPUs of this machine that Keras' backend sees."""
    if on_tensorflow():
        import tensorflow as tf

        return len(tf.config.list_logical_devices("GPU"))
    return len(keras.distribution.list_devices("gpu")) if keras.backend.backend() == "jax" else 0


def count_replicas() -> int:
    """Count the devices that the current `tf.distribute` strategy trains on; 1 where there is none."""
    if not on_tensorflow():
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def on_one_cpu() -> bool:
    """Tell whether TensorFlow computes on one CPU alone."""
    return on_tensorflow() and not count_gpus() and count_replicas() == 1
