"""One side of benchmarks/gpu.py: training steps of one network on one device, by one library.

Every side does the same work: the network in half precision, the recipe's loss, its classification head and
the clipping of its gradient, Adam.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from gpu_bare import (
    WARM,
    Bench,
    bare_steps,
    find_peak,
    find_precision,
    measure_rates,
    reset_peak,
    start_keras,
    time_tracing,
)
from gpu_process import Answer, SkippedError, keep_stdout, report, serve

# The recipe's `deterministic`, whether XLA compiles, and whether the layers are those of `model/fast.py`.
OURS: dict[str, tuple[str, bool, bool]] = {
    "tf": ("auto", False, True),
    "tf-8": ("auto", False, True),  # eight steps at a time, by Keras' steps_per_execution
    "tf-persistent": ("auto", False, True),  # with other kernels of batch normalisation: see `Session.start`
    "tf-plain": ("auto", False, False),
    "tf-exact": ("true", False, True),
    "tf-xla": ("auto", True, True),
    "jax": ("auto", True, False),
}
PEERS = ("torch", "torch-compiled")
UNTIMED = ("tf-exact",)  # chooses no kernel by its time, so needs no device to itself


def make_ours(options: argparse.Namespace) -> tuple[Answer, Bench]:
    """Build the package's network by a backend, and take the first steps."""
    import keras
    import numpy as np

    ready = start_keras(options)
    imported = time.time()
    report("building")
    from pneumothorax.model import unet
    from pneumothorax.recipes import find_recipe
    from pneumothorax.training import hardware, optimizer
    from pneumothorax.training.compiling import compile_model
    from pneumothorax.training.feed import make_batch

    deterministic, xla, fused = OURS[options.side]
    recipe = find_recipe(
        options.recipe, size=options.size, encoder_weights="none", legs="", deterministic=deterministic
    )
    if not fused:
        unet.on_one_device = optimizer.on_one_device = lambda: False
    hardware.begin(recipe, xla)
    model = compile_model(recipe, find_precision(options), xla=xla)
    built = time.time()
    generator = np.random.default_rng(0)

    def make(batch: int) -> Any:
        images = generator.integers(0, 256, (batch, options.size, options.size, 1), dtype=np.uint8)
        masks = (generator.random(images.shape) < 0.1).astype(np.float32)
        images, truth = make_batch(recipe, images, masks, np.ones(batch, bool), 0)
        tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, (images, truth))
        return (*tensors, None)  # as Keras itself arranges a single batch, so that it is traced once

    tracing = time_tracing(model, wait=options.side not in UNTIMED)
    batch = make(options.batch)
    model.train_on_batch(*batch[:2])
    done = time.time()
    report("warming up")
    at_a_time = 8 if options.side == "tf-8" else 1
    step, _, use = bare_steps(model, batch, at_a_time=at_a_time)
    for _ in range(WARM):
        float(step())
    reset_peak()
    first = done - built - tracing["waited"]
    parts = {"import": imported - options.began, "build": built - imported}
    ready["first_step"] = {
        **parts,
        "trace": tracing["seconds"],
        "compile": first - tracing["seconds"],
        "all": sum(parts.values()) + first,
    }
    ready["xla"] = bool(model.jit_compile)
    ready["traces"] = tracing["count"]
    return ready, Bench(
        step, float, find_peak, measure_rates, lambda batch: use(make(batch)), steps_of_call=at_a_time
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=(*OURS, *PEERS), required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--peer-recipe", type=json.loads, help="the recipe's values that the peer needs")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--precision")
    parser.add_argument("--device", choices=("gpu", "cpu"), required=True)
    parser.add_argument("--began", type=float, required=True, help="when the process began, by time.time")
    options = parser.parse_args()
    keep_stdout()

    def prepare() -> tuple[Answer, dict[str, Callable[..., Answer]]]:
        if options.side in PEERS:
            needed = ("torch", "segmentation_models_pytorch")
        else:
            needed = ("keras", "jax" if options.side == "jax" else "tensorflow")
        if lacking := [name for name in needed if find_spec(name) is None]:
            raise SkippedError(f"{' and '.join(lacking)} not installed")
        if options.side in PEERS:
            from gpu_peer import make_peer as make
        else:
            make = make_ours
        ready, bench = make(options)
        return ready, {
            "burst": bench.burst,
            "batch": bench.change_batch,
            "rates": bench.rates,
            "peak": lambda: {"bytes": bench.peak()},
        }

    serve(prepare)


if __name__ == "__main__":
    main()
