"""The bare work of benchmarks/gpu.py: steps of a compiled Keras network, without Keras' loop around them.

Images lie on the device; nothing waits for the device within a burst. Only the standard library is imported
with this module: the peers use `Bench` and `time_rates` too.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpu_process import Answer, SkippedError, report, wait_for_device

WARM = 2  # steps after the first
BURSTS, PRODUCTS = 3, 20  # of large products and copies, and how many each has


@dataclass
class Bench:
    """Measurements of a side; `step` returns at once, `wait` when the device has done its result."""

    step: Callable[[], Any]
    wait: Callable[[Any], object]
    peak: Callable[[], int | None]
    rates: Callable[[], Answer]
    use_batch: Callable[[int], None]
    steps_of_call: int = 1

    def burst(self, steps: int) -> Answer:
        """Return the seconds of a step."""
        calls = max(1, steps // self.steps_of_call)
        return {"seconds": time_burst(self.step, self.wait, calls) / self.steps_of_call}

    def change_batch(self, batch: int) -> Answer:
        """Take other images, and warm up."""
        self.use_batch(batch)
        for _ in range(1 + WARM):
            self.wait(self.step())
        return {}


def time_burst(step: Callable[[], Any], wait: Callable[[Any], object], calls: int) -> float:
    """Return the seconds of a call, after one that is not counted."""
    wait(step())
    began = time.perf_counter()
    for _ in range(calls):
        result = step()
    wait(result)
    return (time.perf_counter() - began) / calls


def start_keras(options: argparse.Namespace) -> Answer:
    """Import Keras and make sure that it has the device; return the device."""
    import keras

    from pneumothorax.training import hardware

    backend = keras.backend.backend()
    if options.device == "gpu" and not on_gpu():
        raise SkippedError(f"{backend} sees no GPU; --device cpu measures the CPU")
    versions = {"keras": keras.__version__, backend: __import__(backend).__version__}
    return {"device": hardware.describe_machine(), "versions": versions}


def find_precision(options: argparse.Namespace) -> str:
    return str(options.precision or ("mixed_float16" if options.device == "gpu" else "float32"))


def time_tracing(model: Any, name: str = "train_step", *, wait: bool = False) -> dict[str, float]:
    """Measure how often and how long a function of a network is traced.

    Args:
        model: Network whose functions are not made yet.
        name: train_step, test_step or predict_step.
        wait: Whether to wait after the first trace until the device is free to compile for.
    """
    spent = {"seconds": 0.0, "waited": 0.0, "count": 0}
    function = getattr(model, name)

    def timed(*arguments: Any) -> Any:
        report(f"tracing {name}")
        began = time.perf_counter()
        result = function(*arguments)
        spent["seconds"] += time.perf_counter() - began
        spent["count"] += 1
        if wait and spent["count"] == 1:
            spent["waited"] = wait_for_device()
        else:
            report(f"compiling {name}")
        return result

    setattr(model, name, timed)
    return spent


def bare_steps(
    model: Any, training: Any, validation: Any = None, *, at_a_time: int = 1
) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[Any], None]]:
    """Return a step of training, one of validation, and a function that changes the images to train on.

    Args:
        model: Network that has taken a step of each.
        training: Images, truth and perhaps weights, on the device, in the structure of that step.
        validation: Likewise.
        at_a_time: Of TensorFlow: steps that each call takes, in one graph.
    """
    import keras

    feed: list[Any] = []
    checks = itertools.repeat(validation)

    def use(batch: Any) -> None:
        feed[:] = [itertools.repeat(batch)]
        if at_a_time > 1:  # only an iterator of TensorFlow's goes into its graph
            import tensorflow as tf

            feed[:] = [iter(tf.data.Dataset.from_tensors(batch[:2]).repeat().prefetch(2 * at_a_time))]

    use(training)
    if keras.backend.backend() != "jax":
        if at_a_time > 1:
            model.steps_per_execution = at_a_time
            model.make_train_function(force=True)
        return (
            lambda: model.train_function(feed[0])["loss"],
            lambda: model.test_function(checks)["loss"],
            use,
        )
    # As `fit` does between two callbacks: the state stays on the device, and each step consumes the last one.
    kinds = ("trainable", "non_trainable", "optimizer", "metrics")
    state = model._get_jax_state(**{f"{kind}_variables": True for kind in kinds}, purge_model_variables=True)
    kept = dict(zip(kinds, state, strict=True))

    def take(function: Any, data: Any, *names: str) -> Any:
        logs, after = function(tuple(kept[name] for name in names), data)
        kept.update(zip(names, after, strict=True))
        return logs["loss"]

    return (
        lambda: take(model.train_function, feed[0], *kinds),
        lambda: take(model.test_function, checks, "trainable", "non_trainable", "metrics"),
        use,
    )


def bare_pass(model: Any, images: Any) -> Callable[[], Any]:
    """Return a pass of some images through a network that has predicted as many.

    Args:
        model: Network.
        images: uint8 array of shape (B, S, S, 1).
    """
    import keras

    images = keras.ops.convert_to_tensor(images)
    if keras.backend.backend() != "jax":
        return lambda: model.predict_function([(images,)])
    kinds = ("trainable", "non_trainable")
    # Copies, because a pass consumes its state, and the network still has to predict.
    kept = [
        keras.tree.map_structure(
            keras.ops.copy, model._get_jax_state(**{f"{kind}_variables": True for kind in kinds})
        )
    ]
    feed = itertools.repeat((images,))

    def step() -> Any:
        outputs, kept[0] = model.predict_function(kept[0], feed)
        return outputs

    return step


def on_gpu() -> bool:
    """Return whether Keras' backend computes on anything but the processor."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def find_peak() -> int | None:
    """Return the most bytes that were in use on the GPU; JAX also counts the trials of its compiler."""
    import keras

    if not on_gpu():
        return None
    if keras.backend.backend() == "jax":
        import jax

        return int((jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)) or None
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def reset_peak() -> None:
    """Forget the peak so far, where the library can."""
    import keras

    if on_gpu() and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")


def measure_rates() -> Answer:
    """Return floating-point operations a second of a large product, and bytes a second of a large copy."""
    import keras

    side, count, half = rate_sizes(gpu=on_gpu())
    if keras.backend.backend() == "jax":
        import jax
        import jax.numpy as jnp

        matrix = jax.random.normal(jax.random.key(0), (side, side), half)
        vector = jnp.zeros(count, "float32")
        product, copy = jax.jit(jnp.matmul), jax.jit(lambda values: values + 1)
        return time_rates(
            lambda: product(matrix, matrix),
            lambda: copy(vector),
            lambda x: x.block_until_ready(),
            side,
            count,
        )
    import tensorflow as tf

    matrix, vector = tf.cast(tf.random.normal((side, side)), half), tf.zeros(count)
    return time_rates(
        lambda: tf.linalg.matmul(matrix, matrix), lambda: vector + 1.0, lambda x: x[:1].numpy(), side, count
    )


def rate_sizes(*, gpu: bool) -> tuple[int, int, str]:
    """Return the side and type of the matrices, and between them the number of float32 values to copy."""
    return (8192, 1 << 28, "float16") if gpu else (512, 1 << 22, "float32")


def time_rates(
    product: Callable[[], Any], copy: Callable[[], Any], wait: Callable[[Any], object], side: int, count: int
) -> Answer:
    """Time a product of two square matrices and a copy of float32 values; the best of some bursts."""
    rates = {}
    for name, work, amount in (("matrix", product, 2 * side**3), ("copy", copy, 2 * 4 * count)):
        rates[name] = amount / min(time_burst(work, wait, PRODUCTS) for _ in range(BURSTS))
    return rates
