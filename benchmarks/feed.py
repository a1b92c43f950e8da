"""The augmented input pipeline of recipe `strong` against the network that it feeds, and against its peer.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install albumentations
    python benchmarks/feed.py --peer-python /tmp/peer/bin/python

The network is the paper's Xception U-Net in a training step of batch 16, on the same CPU. The peer makes the
same batches with albumentations: flip, affine, a distorted grid in the place of ours (its elastic transform
blurs noise over the whole image, and is slower), brightness and contrast, and gamma; images cubic, as ours.
Without --peer-python ours runs alone.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH, IMAGES, STEPS, ROUNDS = 16, 96, 1, 5
SIZES = (128, 256)


def make_arrays(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images of noise, and masks, every third of them empty."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (IMAGES, size, size), dtype=np.uint8)
    masks = np.zeros_like(images)
    for number, (y, x) in enumerate(generator.integers(0, size * 3 // 4, (IMAGES, 2))):
        masks[number, y : y + size // 4, x : x + size // 8] = 255 * (number % 3 > 0)
    return images, masks


def make_sides(size: int) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """Return functions that make batches of all images and take a few steps; and the peer's values."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dataclasses import replace
    from pathlib import Path

    import pandas as pd

    from pneumothorax.data.cache import Cache
    from pneumothorax.recipes import RECIPES
    from pneumothorax.training import hardware
    from pneumothorax.training.augmentation_preview import INGREDIENTS
    from pneumothorax.training.compiling import compile_model
    from pneumothorax.training.feed import TrainingBatches

    values = {
        name: getattr(RECIPES["strong"], name) for name in (*INGREDIENTS, "geometry_share", "tone_share")
    }
    recipe = replace(RECIPES["seed"], size=size, positives_only=False, encoder_weights="none", **values)
    images, masks = make_arrays(size)
    studies = pd.DataFrame({"ImageId": np.arange(IMAGES), "area": masks.sum(axis=(1, 2))})
    feed = TrainingBatches(Cache(Path(), images, masks, studies), np.arange(IMAGES), recipe)
    model = compile_model(recipe, hardware.choose_precision(recipe.precision))
    batch = feed[0]
    sides = {
        "feed": lambda: [feed[number] for number in range(len(feed))],
        "train": lambda: [model.train_on_batch(batch[0], batch[1]) for _ in range(STEPS)],
    }
    return sides, values


def serve_peer(size: int, values: dict[str, float]) -> None:
    """Make every batch once for each line on stdin, with albumentations, and print the seconds."""
    import albumentations as a
    import cv2

    zoom, shift, geometry = values["zoom"], values["shift"], values["geometry_share"]
    compose = a.Compose(
        [
            a.HorizontalFlip(p=0.5),
            a.Affine(
                scale=(1 - zoom, 1 + zoom),
                translate_percent=(-shift, shift),
                rotate=(-values["rotation_degrees"], values["rotation_degrees"]),
                interpolation=cv2.INTER_CUBIC,
                p=geometry,
            ),
            a.GridDistortion(4, 4 * values["elastic"], interpolation=cv2.INTER_CUBIC, p=geometry),
            a.RandomBrightnessContrast(values["brightness"], values["contrast"], p=values["tone_share"]),
            a.RandomGamma((100 - 100 * values["gamma"], 100 + 100 * values["gamma"]), p=values["tone_share"]),
        ]
    )
    images, masks = make_arrays(size)

    def make_batches() -> None:
        for start in range(0, IMAGES, BATCH):
            rows = range(start, start + BATCH)
            made = [compose(image=images[row], mask=np.float32(masks[row]) / 255) for row in rows]
            np.stack([one["image"] for one in made]), np.stack([one["mask"] for one in made])

    make_batches()
    print(json.dumps(0), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        make_batches()
        print(json.dumps(time.perf_counter() - began), flush=True)


def start_peer(python: str, size: int, values: dict[str, float]) -> Callable[[], object]:
    command = [python, __file__, "--serve", str(size), json.dumps(values)]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert peer.stdout.readline(), "the peer did not start"

    def make_batches() -> None:
        peer.stdin.write("go\n")
        peer.stdin.flush()
        peer.stdout.readline()

    return make_batches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter that has albumentations")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_peer(int(options.serve[0]), json.loads(options.serve[1]))
        return
    from timing import describe_machine, interleave, print_ratio

    print(describe_machine("keras", "opencv-python-headless"))
    for size in SIZES:
        sides, values = make_sides(size)
        if options.peer_python:
            sides["peer"] = start_peer(options.peer_python, size, values)
        seconds = interleave(sides, ROUNDS)
        seconds["train"] *= IMAGES / (STEPS * BATCH)
        for side, value in seconds.items():
            print(f"{size} pixels: {side:<6} {IMAGES / value:8.1f} images a second")
        print_ratio(f"{size} pixels: training / feeding", seconds["train"] / seconds["feed"], "above 5")
        if "peer" in seconds:
            print_ratio(
                f"{size} pixels: albumentations / ours", seconds["peer"] / seconds["feed"], "above 1.0"
            )
    if not options.peer_python:
        print("peer not measured: --peer-python names an interpreter that has albumentations (see --help)")


if __name__ == "__main__":
    main()
