"""The fused kernels compute what Keras' layers compute: outputs, gradients, running averages and updates."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from pneumothorax.model import fast, unet
from pneumothorax.model.unet import build_model, load_weights, save_weights
from pneumothorax.recipe import Recipe

IMAGES = np.random.default_rng(1).normal(2, 3, (4, 6, 8, 16)).astype(np.float32)
LAYERS = [
    (keras.layers.BatchNormalization, fast.BatchNormalization, {}),
    (keras.layers.BatchNormalization, fast.BatchNormalization, {"scale": False, "epsilon": 2e-5}),
    (keras.layers.BatchNormalization, fast.BatchNormalization, {"center": False, "momentum": 0.5}),
    (keras.layers.UpSampling2D, fast.UpSampling2D, {}),
    (
        keras.layers.SeparableConv2D,
        fast.SeparableConv2D,
        {"filters": 8, "kernel_size": 3, "padding": "same", "use_bias": False},
    ),
    (
        keras.layers.SeparableConv2D,
        fast.SeparableConv2D,
        {"filters": 8, "kernel_size": 3, "padding": "valid", "strides": 2, "activation": "relu"},
    ),
    (keras.layers.Conv2D, fast.Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same"}),
]


def build_pair(kinds, options):
    layers = [kind(**options) for kind in kinds]
    for layer in layers:
        layer.build(IMAGES.shape)
    generator = np.random.default_rng(2)
    values = [generator.uniform(0.5, 1.5, weight.shape) for weight in layers[0].weights]
    for layer in layers:
        layer.set_weights(values)
    return layers


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("theirs", "ours", "options"), LAYERS, ids=str)
def test_outputs_gradients_and_averages_are_keras_own(theirs, ours, options, training):
    found = []
    for layer in build_pair((theirs, ours), options):
        inputs = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training) if "Batch" in theirs.__name__ else layer(inputs)
            loss = tf.reduce_sum(tf.sin(outputs))
        weights = [weight.value for weight in layer.trainable_weights]
        found.append([outputs, *tape.gradient(loss, [inputs, *weights]), *layer.get_weights()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_a_frozen_batch_normalisation_uses_and_keeps_its_averages():
    layer, ours = build_pair((keras.layers.BatchNormalization, fast.BatchNormalization), {"trainable": False})
    before = ours.get_weights()
    np.testing.assert_allclose(
        layer(IMAGES, training=True), ours(IMAGES, training=True), rtol=1e-4, atol=1e-4
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, ours.get_weights(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "wide"), [("float32", False), ("mixed_bfloat16", True)])
def test_wide_convolutions_are_replaced_in_bfloat16_alone(precision, wide):
    recipe = replace(Recipe(), size=32, encoder_weights="none")
    inner = next(layer for layer in build_model(recipe, precision).layers if isinstance(layer, keras.Model))
    kinds = {layer.name: type(layer) for layer in inner.layers}
    assert (kinds["decoder_stage0a_conv"] is fast.Conv2D) == wide
    assert kinds["decoder_stage4a_conv"] is not fast.Conv2D


def test_adam_updates_as_keras_own():
    found = []
    for kind in (keras.optimizers.Adam, fast.Adam):
        variable = keras.Variable(np.linspace(-1, 1, 12, dtype=np.float32))
        optimizer = kind(0.01)
        for step in range(5):
            optimizer.apply([tf.sin(variable.value * (step + 1))], [variable])
        found.append([variable.numpy(), *(v.numpy() for v in optimizer.variables)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["xception", "resnet18"])
def test_weights_go_between_fast_and_plain_networks(encoder, tmp_path, monkeypatch):
    recipe = replace(Recipe(), size=32, encoder=encoder, encoder_weights="none", decoder_filters=(8,) * 5)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
    quick = build_model(recipe)
    inner = next(layer for layer in quick.layers if isinstance(layer, keras.Model))
    assert {type(layer) for layer in inner.layers} >= {fast.BatchNormalization, fast.UpSampling2D}
    save_weights(quick, tmp_path / "a.weights.h5")
    monkeypatch.setattr(unet, "on_one_device", lambda: False)
    plain = build_model(recipe, trained=True)
    load_weights(plain, tmp_path / "a.weights.h5")
    np.testing.assert_allclose(quick.predict_on_batch(images), plain.predict_on_batch(images), atol=1e-4)
