"""Prediction of the test set (predict, decide, encode, write) against the forward passes alone.

    python benchmarks/predict.py [--images 3205] [--size 128] [--encoder xception] [--folds 1]

The forward passes are those of one network, as many as there are folds: the folds' weights take turns in it.
The network is untrained, but its probabilities are mixed with blobs of the size of lesions, so that decisions
and run-length codes cost as much as with a trained network. Peak memory is this process's own.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import pandas as pd

from pneumothorax.data.batches import full_batches
from pneumothorax.data.cache import Cache
from pneumothorax.inference import predict
from pneumothorax.inference.decision import encode_all
from pneumothorax.inference.fold_networks import load_folds
from pneumothorax.inference.rule import Rule
from pneumothorax.model.memory import images_at_once
from pneumothorax.model.unet import build_model, save_weights
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.submission.table import write_submission
from pneumothorax.training import hardware
from pneumothorax.training.fold_folder import FoldFolder
from timing import describe_machine, print_ratio

POSITIVE = 0.25  # of the images get a mask


def make_cache(folder: Path, count: int, size: int) -> Cache:
    generator = np.random.default_rng(0)
    np.save(folder / "images.npy", generator.integers(0, 256, (count, size, size), dtype=np.uint8))
    images = np.load(folder / "images.npy", mmap_mode="r")
    names = [f"ID_{number:09x}" for number in range(count)]
    studies = pd.DataFrame({"ImageId": names, "height": 1024, "width": 1024})
    return Cache(folder, images, images, studies)


def blob(size: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if generator.random() > POSITIVE:
        return np.zeros((size, size), np.uint8)
    canvas = np.zeros((size, size), np.uint8)
    centre, axes = (
        generator.integers(size // 4, 3 * size // 4, 2),
        generator.integers(size // 24, size // 6, 2),
    )
    cv2.ellipse(canvas, centre.tolist(), axes.tolist(), float(generator.uniform(0, 180)), 0, 360, 255, -1)
    return cv2.GaussianBlur(canvas, (0, 0), size / 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3205)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--encoder", default="xception")
    parser.add_argument("--folds", type=int, default=1)
    options = parser.parse_args()
    recipe = Recipe(size=options.size, encoder=options.encoder, encoder_weights="none")
    model = build_model(recipe, hardware.choose_precision("auto", predicts=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cache = make_cache(folder, options.images, options.size)
        cache.studies[["ImageId"]].assign(EncodedPixels="-1").to_csv(folder / "sample.csv", index=False)
        folds = [FoldFolder(folder / "run" / f"fold{number}") for number in range(options.folds)]
        for fold in folds:
            save_weights(model, fold.weights)
            fold.recipe.write_text(to_json(recipe))
        networks = load_folds(folds)
        rows = np.arange(options.images)
        batches = full_batches(rows, images_at_once(model)) * options.folds
        networks.model.predict_on_batch(np.asarray(cache.images[batches[0]])[..., None])
        model.predict_on_batch(np.asarray(cache.images[batches[0]])[..., None])

        began = time.perf_counter()
        for batch in batches:
            keras.ops.convert_to_numpy(model.predict_on_batch(np.asarray(cache.images[batch])[..., None]))
        forward = time.perf_counter() - began

        drawn = np.stack([blob(options.size, seed) for seed in range(options.images)])
        began = time.perf_counter()
        predictions = predict.predict_rows(networks, cache, rows, folder / "predictions")
        predicted = time.perf_counter() - began
        lifelike = type(predictions)(predictions.folder, drawn, predictions.studies)
        began = time.perf_counter()
        write_submission(folder / "out.csv", encode_all(lifelike, Rule(min_area=800)), folder / "sample.csv")
        decided = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(describe_machine("keras", "numpy"))
    print(f"forward {forward:.1f} s, predict {predicted:.1f} s, decide + encode + write {decided:.1f} s")
    print_ratio("predict + decide + encode / forward pass", (predicted + decided) / forward, "below 1.15")
    print_ratio("peak memory in GB", peak, "below 2")


if __name__ == "__main__":
    main()
