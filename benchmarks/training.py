"""The training step of the paper's network (128 px, batch 16) against segmentation_models_pytorch's.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install torch segmentation-models-pytorch
    python benchmarks/training.py --peer-python /tmp/peer/bin/python

Both sides train an Xception U-Net from random weights with Adam and BCE + log-dice, each in a process of its
own that takes steps in turn with the other. Without --peer-python ours runs alone: plain Keras against the
fused kernels of `model/fast.py`, and the cost of making a batch next to that of training on it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

BATCH, SIZE, WARM, BURST = 16, 128, 3, 2
SIDES = ("fast", "plain", "peer")


def make_our_step(precision: str, *, fast: bool) -> Callable[[], float]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    from pneumothorax.model import unet
    from pneumothorax.recipe import Recipe
    from pneumothorax.training import compiling, optimizer

    if not fast:
        unet.on_one_device = optimizer.on_one_device = lambda: False
    recipe = Recipe(size=SIZE, encoder_weights="none")
    model = compiling.compile_model(recipe, precision)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (BATCH, SIZE, SIZE, 1), dtype=np.uint8)
    masks = (generator.random(images.shape) < 0.1).astype(np.float32)
    return lambda: float(model.train_on_batch(images, masks, return_dict=True)["loss"])


def make_peer_step(precision: str) -> Callable[[], float]:
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    network = smp.Unet("xception", encoder_weights=None, in_channels=3, classes=1).train()
    network = network.to(memory_format=torch.channels_last)  # the faster of the two on this kind of CPU
    adam = torch.optim.Adam(network.parameters(), 1e-4)
    images = torch.rand(BATCH, 3, SIZE, SIZE).mul(2).sub(1).to(memory_format=torch.channels_last)
    masks = (torch.rand(BATCH, 1, SIZE, SIZE) < 0.1).float()

    def step() -> float:
        adam.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            logits = network(images)
        logits = logits.float()
        probability = torch.sigmoid(logits)
        dice = (2 * (masks * probability).sum() + 0.1) / (masks.sum() + probability.sum() + 0.1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks) - torch.log(dice)
        loss.backward()
        adam.step()
        return loss.item()

    return step


def serve(side: str, precision: str) -> None:
    """Take one burst of steps for each line on stdin, and print the seconds of a step."""
    step = make_peer_step(precision) if side == "peer" else make_our_step(precision, fast=side == "fast")
    for _ in range(WARM):
        step()
    print(json.dumps(0), flush=True)
    for _ in sys.stdin:
        step()
        began = time.perf_counter()
        for _ in range(BURST):
            step()
        print(json.dumps((time.perf_counter() - began) / BURST), flush=True)


def compare(pythons: dict[str, str], precision: str, rounds: int) -> dict[str, float]:
    """Run the sides in turn and return the median seconds of a step of each."""
    running = {}
    for side, python in pythons.items():
        command = [python, __file__, "--serve", side, "--precision", precision]
        running[side] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert running[side].stdout.readline(), f"{side} did not start"
    seconds: dict[str, list[float]] = {side: [] for side in running}
    for _ in range(rounds):
        for side, process in running.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds[side].append(json.loads(process.stdout.readline()))
    for process in running.values():
        process.stdin.close()
        process.wait()
    return {side: statistics.median(values) for side, values in seconds.items()}


def measure_waiting() -> float:
    """Return the share of an epoch's time that the feed spends on making batches, were none made ahead."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tempfile
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from pneumothorax.data.cache import Cache
    from pneumothorax.recipe import Recipe
    from pneumothorax.training.feed import TrainingBatches

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.npy")
        np.save(path, np.random.default_rng(0).integers(0, 256, (640, SIZE, SIZE), dtype=np.uint8))
        images = np.load(path, mmap_mode="r")
        feed = TrainingBatches(
            Cache(Path(folder), images, images, pd.DataFrame()), np.arange(640), Recipe(size=SIZE)
        )
        step = make_our_step("float32", fast=True)
        for _ in range(WARM):
            step()
        began = time.perf_counter()
        for number in range(len(feed)):
            feed[number]
        fed = (time.perf_counter() - began) / len(feed)
        began = time.perf_counter()
        for _ in range(5):
            step()
        return fed / ((time.perf_counter() - began) / 5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter that has torch and segmentation_models_pytorch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.precision)
        return
    from timing import describe_machine, print_ratio

    print(describe_machine("keras", "segmentation-models"))
    pythons = {"fast": sys.executable, "plain": sys.executable}
    if options.peer_python:
        pythons["peer"] = options.peer_python
    for precision in ("float32", "mixed_bfloat16"):
        seconds = compare(pythons, precision, options.rounds)
        for side, value in seconds.items():
            print(f"{precision:<15} {side:<6} {BATCH / value:7.1f} images a second")
        print_ratio(f"{precision}: plain Keras / ours", seconds["plain"] / seconds["fast"], "-")
        if "peer" in seconds:
            print_ratio(f"{precision}: PyTorch / ours", seconds["peer"] / seconds["fast"], "above 1.0")
    print_ratio("making a batch / training on it", measure_waiting(), "below 0.05")


if __name__ == "__main__":
    main()
