"""What the encoder gets of the learning rate, what is frozen, what decays."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumothorax.model.architectures import find_encoder
from pneumothorax.training.compiling import compile_model

pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.slow]
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
MASKS = (IMAGES > 128).astype(np.float32)


def split_weights(model):
    """Return the arrays of the encoder and of the rest, by their paths."""
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    encoder = {weight.path for weight in find_encoder(inner).weights}
    arrays = {weight.path: np.array(weight) for weight in inner.weights}
    return {k: v for k, v in arrays.items() if k in encoder}, {
        k: v for k, v in arrays.items() if k not in encoder
    }


def train_a_step(recipe):
    """Return how far each array of encoder and decoder moved in one step."""
    keras.utils.set_random_seed(1)
    model = compile_model(recipe, "float32")
    before = split_weights(model)
    model.train_on_batch(IMAGES, MASKS)
    after = split_weights(model)
    return [
        {path: np.abs(now[path] - array).max() for path, array in then.items()}
        for then, now in zip(before, after, strict=True)
    ]


def moved(distances, *, statistics):
    return [value for path, value in distances.items() if ("moving_" in path) == statistics]


def test_the_encoder_gets_its_share_of_the_rate(tiny):
    # Adam's first step is the rate itself, wherever there is a gradient at all.
    encoder, decoder = train_a_step(replace(tiny, encoder_rate=0.1, learning_rate=1e-3))
    assert max(moved(encoder, statistics=False)) == pytest.approx(1e-4, rel=0.01)
    assert max(moved(decoder, statistics=False)) == pytest.approx(1e-3, rel=0.01)
    encoder, _ = train_a_step(replace(tiny, learning_rate=1e-3))
    assert max(moved(encoder, statistics=False)) == pytest.approx(1e-3, rel=0.01)


def test_a_share_of_nothing_freezes_the_encoder_and_its_running_averages(tiny):
    encoder, decoder = train_a_step(replace(tiny, encoder_rate=0.0))
    assert set(encoder.values()) == {0.0}
    assert min(moved(decoder, statistics=True)) > 0


def test_frozen_batch_normalisation_leaves_the_encoders_kernels_to_learn(tiny):
    encoder, decoder = train_a_step(replace(tiny, freeze_batch_norm=True))
    assert set(moved(encoder, statistics=True)) == {0.0}
    assert max(moved(encoder, statistics=False)) > 0
    assert {value for path, value in encoder.items() if "gamma" in path} == {0.0}
    assert min(moved(decoder, statistics=True)) > 0


def test_kernels_decay_and_biases_do_not(tiny):
    recipe = replace(tiny, learning_rate=1e-3)
    plain, decaying = train_a_step(recipe), train_a_step(replace(recipe, weight_decay=100.0))
    for path in plain[1]:
        changed = plain[1][path] != decaying[1][path]
        assert changed == ("kernel" in path), path
