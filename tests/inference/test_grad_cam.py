"""Grad-CAM and pooled features: by hand, against the gradient, and in every kind of network."""

import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from tests import forks
from tests.inference.tiny import CHANNELS, build_tiny

from pneumothorax.inference.grad_cam import look_inside
from pneumothorax.model.unet import build_model
from pneumothorax.recipes import RECIPES

HEADED = replace(
    RECIPES["smoke"], size=32, classification_head=True, loss="bce + classification", encoder="mobilenetv2"
)
# The gradient of the head's logit by the backend's own differentiation.
AGAINST_GRADIENT = """
import keras, numpy as np
from dataclasses import replace
from pneumothorax.inference.grad_cam import look_inside
from pneumothorax.recipes import RECIPES
from tests.inference.tiny import build_tiny
recipe = replace(RECIPES["smoke"], size=64, classification_head=True, loss="bce + classification")
model, generator = build_tiny(recipe), np.random.default_rng(1)
model.set_weights([generator.normal(0, 0.3, weight.shape) for weight in model.weights])
encoder, head = model.layers[2].get_layer("encoder"), model.get_layer("classification")
kernel, bias = encoder.get_weights()
encoder.set_weights([kernel - kernel.mean((0, 1, 2)), bias])  # of either sign where the image is bright
head.set_weights([np.array([1, -2, 0.5, 3, 0.5, -4])[:, None], np.ones(1)])
images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 1), dtype=np.uint8)
seen = look_inside(model).predict_on_batch(images)
encoded = keras.ops.convert_to_numpy(encoder(images.astype("float32") / 255))  # (5, 4, 4, C)
kernel, bias = map(keras.ops.convert_to_numpy, (head.kernel, head.bias))

def logit(encoded):
    pooled = [keras.ops.mean(encoded, (1, 2)), keras.ops.max(encoded, (1, 2))]
    return keras.ops.sum(keras.ops.matmul(keras.ops.concatenate(pooled, -1), kernel) + bias)

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tensor = tf.constant(encoded)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = logit(tensor)
    gradient = tape.gradient(value, tensor).numpy()
else:
    import jax
    gradient = np.asarray(jax.grad(logit)(encoded))
weights = gradient.mean(axis=(1, 2), keepdims=True)
expected = np.maximum(0, (weights * encoded).sum(axis=-1)) * 16
assert 0 < (expected > 0).mean() < 1, "one sign proves little"
np.testing.assert_allclose(seen["grad_cam"], expected, rtol=1e-4, atol=1e-6)
np.testing.assert_allclose(seen["feature"], encoded.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
print(keras.backend.backend())
"""


def test_a_map_computed_by_hand():
    model = build_tiny(replace(HEADED, size=32))
    kernel = np.zeros((16, 16, 1, CHANNELS), np.float32)
    kernel[0, 0, 0, :2] = (1, 2)  # each place of the encoder's output sees its first pixel alone
    kernel[15, 15, 0, 2] = 1
    model.layers[2].get_layer("encoder").set_weights([kernel, np.zeros(CHANNELS, np.float32)])
    weights = np.array([1, -2, 0.5, 3, 0.5, -4], np.float32)[:, None]  # of the means, then of the maxima
    model.get_layer("classification").set_weights([weights, np.ones(1, np.float32)])
    image = np.zeros((1, 32, 32, 1), np.uint8)
    image[0, 0, 0], image[0, 0, 16], image[0, 15, 31] = 255, 51, 102
    seen = look_inside(model).predict_on_batch(image)
    # A = (1, 2, 0), (.2, .4, .4), 0, 0; weights of the channels 4, -1.5, -3.5
    np.testing.assert_allclose(seen["grad_cam"], [[[1, 0], [0, 0]]], atol=1e-6)
    np.testing.assert_allclose(seen["feature"], [[0.3, 0.6, 0.1]], atol=1e-6)


def test_the_map_is_that_of_the_gradient(eagerly):
    exec(AGAINST_GRADIENT, {})


@pytest.mark.slow
def test_the_map_is_that_of_the_gradient_under_jax():
    assert forks.run(AGAINST_GRADIENT, environment=os.environ | {"KERAS_BACKEND": "jax"}) == (0, "jax\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "head"),
    [("unet", False), ("unet", True), ("fpn", True), ("linknet", True), ("pspnet", True)],
)
def test_every_architecture_is_seen_without_its_decoder(eagerly, architecture, head):
    recipe = replace(RECIPES["smoke"], encoder="mobilenetv2", architecture=architecture, size=96)
    recipe = replace(recipe, classification_head=True, loss="bce + classification") if head else recipe
    model = build_model(recipe, trained=True)
    inside = look_inside(model)
    assert not any("decoder" in weight.path for weight in inside.weights)
    assert {id(weight) for weight in inside.weights} < {id(weight) for weight in model.weights}
    image = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 1), dtype=np.uint8)
    seen = inside.predict_on_batch(image)
    side = 12 if architecture == "pspnet" else 3
    assert {name: array.shape[:-1] for name, array in seen.items()} == (
        {"feature": (2,), "grad_cam": (2, side)} if head else {"feature": (2,)}
    )
    if head:  # the mean of the channels is the one that the head sees
        pooled = keras.Model(model.input, model.get_layer("classification_mean").output)
        np.testing.assert_allclose(seen["feature"], pooled.predict_on_batch(image), rtol=1e-4, atol=1e-5)
