"""Networks that see a pneumothorax where an image is bright, and the run folders that they come from."""

import json
from dataclasses import replace

import keras
import numpy as np

from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES

SIDE = 32
BUILDER = "pneumothorax.inference.fold_networks.build_model"  # what a test puts `build_echo` in the place of
PLAIN = replace(RECIPES["smoke"], size=SIDE, flip_tta=False, classification_head=False, interpolation="area")


def headed(recipe):
    """Return the recipe of a network that also has a classification head."""
    return replace(recipe, classification_head=True, loss="bce + classification")


def build_echo(recipe, precision="float32", *, trained=False):
    """Build a network whose probability is the image's brightness, times its one weight."""
    images = keras.Input((recipe.size, recipe.size, 1), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(images)
    gain = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="gain")
    probability = gain(scaled)
    if not recipe.classification_head:
        return keras.Model(images, probability)
    image_probability = keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D()(probability))
    return keras.Model(images, {"probability": probability, "classification": image_probability})


def make_run(root, name="echo", gains=(1.0,), recipe=PLAIN):
    """Make a run of one fold for each gain."""
    run = root / "runs" / name
    for number, gain in enumerate(gains):
        fold = run / f"fold{number}"
        fold.mkdir(parents=True)
        network = build_echo(recipe)
        network.get_layer("gain").set_weights([np.full((1, 1, 1, 1), gain, np.float32)])
        network.save_weights(fold / "best.weights.h5")
        (fold / "recipe.json").write_text(to_json(recipe))
    return run


def make_ensemble(root, weights, name="both"):
    """Make the folder of an ensemble by hand; its members need have predicted nothing."""
    run = root / "runs" / name
    run.mkdir(parents=True)
    members = [{"run": member, "weight": weight, "recipe": ""} for member, weight in weights.items()]
    (run / "ensemble.json").write_text(json.dumps({"members": members}))
    return run
