"""An epoch's validation with the gain of the best rule, against the same without it.

    python benchmarks/gain.py --sizes 128 256 --rounds 5

Recipe `strong` with the encoder EfficientNet-Lite0 of random weights, a small network, so that the gain
has much weight. Both sides evaluate the same images of noise by the same network, in turn; the first
round of each compiles. The ratios are of the least rounds, since other work on a machine only ever adds
time; processor time is nearly independent of it.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

GOAL = 1.1  # less than a tenth of validation


def make_sides(size: int, number: int) -> dict[str, Callable[[], dict[str, float]]]:
    """Return functions that validate once, with the gain and without; every fifth image has a lesion."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dataclasses import replace
    from functools import partial

    import keras
    import pandas as pd

    from pneumothorax.data.cache import Cache
    from pneumothorax.model.devices import on_tensorflow
    from pneumothorax.model.losses import find_losses
    from pneumothorax.model.metrics import find_metrics
    from pneumothorax.recipes import RECIPES
    from pneumothorax.training.compiling import compile_model
    from pneumothorax.training.feed import ValidationBatches

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (number, size, size), dtype=np.uint8)
    masks = np.zeros_like(images)
    for row in range(0, number, 5):
        y, x = generator.integers(0, size * 3 // 4, 2)
        masks[row, y : y + size // 4, x : x + size // 8] = 255
    studies = pd.DataFrame({"area": (masks.sum(axis=(1, 2)) > 0) * 1})
    recipe = replace(RECIPES["strong"], encoder="efficientnetlite0", encoder_weights="none", size=size)
    feed = ValidationBatches(Cache(Path(), images, masks, studies), np.arange(number), recipe)
    keras.utils.set_random_seed(0)
    measuring = compile_model(recipe, "float32", trained=True)
    plain = keras.Model(measuring.input, measuring.output)
    plain.compile(
        loss=find_losses(recipe),
        weighted_metrics=find_metrics(recipe),
        jit_compile=not on_tensorflow(),
    )
    sides = {"with": measuring, "without": plain}
    return {name: partial(model.evaluate, feed, verbose=0, return_dict=True) for name, model in sides.items()}


def measure(
    sides: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each round of each side, by the clock and of the processors, after a warm-up."""
    results = {name: side() for name, side in sides.items()}
    assert "gain" in results["with"]
    assert "gain" not in results["without"]
    np.testing.assert_allclose(results["with"]["loss"], results["without"]["loss"], rtol=1e-4)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=number % 2 == 1):  # each goes first as often
            began = time.perf_counter(), time.process_time()
            sides[name]()
            seconds[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    from timing import describe_machine, print_ratio

    print(describe_machine("keras"))
    for size in options.sizes:
        seconds = measure(make_sides(size, options.images), options.rounds)
        for kind, unit in enumerate(("seconds", "processor seconds")):
            values = {name: [one[kind] for one in each] for name, each in seconds.items()}
            for name, each in values.items():
                print(
                    f"{size} px, {options.images} images, {name} the gain: least {min(each):.2f}, median "
                    f"{statistics.median(each):.2f} {unit}"
                )
            ratio = min(values["with"]) / min(values["without"])
            print_ratio(f"validation at {size} px, with / without, {unit}", ratio, f"below {GOAL}")


if __name__ == "__main__":
    main()
