"""Tiny networks laid out as those of `build_model`, and trained runs of them with their prepared images."""

import json

import keras
import numpy as np
import pandas as pd

from pneumothorax.data.cache import digest_studies
from pneumothorax.recipe import to_json

CHANNELS = 3
BUILDER = "pneumothorax.inference.fold_networks.build_model"  # `build_tiny` takes its place


def build_tiny(recipe, precision="float32", *, trained=False):
    """Build a network whose encoder is one convolution, from (S, S) to (S/16, S/16, CHANNELS)."""
    images = keras.Input((recipe.size, recipe.size, 1), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="scale")(images)
    inputs = keras.Input((recipe.size, recipe.size, 1))
    encoded = keras.layers.Conv2D(CHANNELS, 16, 16, activation="relu", name="encoder")(inputs)
    larger = keras.layers.UpSampling2D(16, name="decoder_stage0")(encoded)
    logits = keras.layers.Conv2D(1, 1, name="logits")(larger)
    if not recipe.classification_head:
        map = keras.Model(inputs, logits)(scaled)
        return keras.Model(images, keras.layers.Activation("sigmoid", name="probability")(map))
    map, features = keras.Model(inputs, [logits, encoded])(scaled)
    mean = keras.layers.GlobalAveragePooling2D()(features)
    pooled = keras.layers.Concatenate()([mean, keras.layers.GlobalMaxPooling2D()(features)])
    outputs = {
        "probability": keras.layers.Activation("sigmoid", name="probability")(map),
        "classification": keras.layers.Dense(1, activation="sigmoid", name="classification")(pooled),
    }
    return keras.Model(images, outputs)


def make_cache(root, recipe, number=24, seed=0):
    """Prepare images of noise, every third with a pneumothorax, two of each patient; returns its folder."""
    folder = root / "data" / "cache" / f"{recipe.size}-{recipe.interpolation}" / "train"
    folder.mkdir(parents=True)
    size, rows = recipe.size, np.arange(number)
    images = np.random.default_rng(seed).integers(0, 256, (number, size, size), dtype=np.uint8)
    masks = np.zeros_like(images)
    masks[::3, : size // 2, : size // 2] = 255
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    studies = pd.DataFrame({"ImageId": [f"i{row:02}" for row in rows], "path": ""})
    studies["EncodedPixels"] = ["0 64" if row % 3 == 0 else "-1" for row in rows]
    studies = studies.assign(area=np.where(rows % 3, 0, 64), height=1024, width=1024, view="PA", sex="F")
    studies = studies.assign(patient=[f"p{row // 2}" for row in rows], age=40.0)
    studies.to_csv(folder / "studies.csv", index=False)
    (folder / "cache.json").write_text("{}")
    return folder


def make_run(root, recipe, folds, studies=None, name="tiny"):
    """Make a run of tiny networks, each of random weights of its own."""
    run = root / "runs" / name
    for fold in range(folds):
        folder = run / f"fold{fold}"
        folder.mkdir(parents=True)
        keras.utils.set_random_seed(fold)
        build_tiny(recipe).save_weights(folder / "best.weights.h5")
        (folder / "recipe.json").write_text(to_json(recipe))
        if studies is not None:
            data = json.dumps({"data": digest_studies(studies)})
            (folder / "environment.json").write_text(data)
    return run
