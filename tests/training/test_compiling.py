"""Adam as the recipe names it: its rate's schedule, clipping, accumulation and moving average."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumothorax.training import optimizer as making
from pneumothorax.training.compiling import compile_model

STEPS = [4, 5, 6, 7]  # of four epochs, 22 together
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
MASKS = (IMAGES > 128).astype(np.float32)

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.slow]


def rates(recipe, updates):
    optimizer = compile_model(recipe, "float32", steps=STEPS).optimizer
    found = []
    for update in range(updates):
        optimizer.iterations.assign(update * (recipe.accumulate or 1))
        found.append(float(optimizer.learning_rate))
    return np.array(found)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_rate_warms_up_over_its_epochs_and_falls_as_a_cosine_over_the_rest(accumulate, tiny):
    recipe = replace(
        tiny, epochs=4, schedule="cosine", warmup_epochs=1.0, learning_rate=0.01, accumulate=accumulate
    )
    optimizer = compile_model(recipe, "float32", steps=STEPS).optimizer
    schedule = optimizer._learning_rate
    warm, total = 4 // accumulate, 22 // accumulate
    found = np.array([float(schedule(update)) for update in range(total + 1)])
    np.testing.assert_allclose(found[: warm + 1], 0.01 * np.arange(warm + 1) / warm, atol=1e-8)
    past = np.arange(total - warm + 1) / (total - warm)
    np.testing.assert_allclose(found[warm:], 0.01 * (1 + np.cos(np.pi * past)) / 2, atol=1e-7)


def test_without_a_warm_up_the_cosine_begins_at_the_rate(tiny):
    schedule = compile_model(
        replace(tiny, schedule="cosine", learning_rate=0.01), "float32", steps=STEPS
    ).optimizer._learning_rate
    assert float(schedule(0)) == pytest.approx(0.01)
    assert float(schedule(22)) == pytest.approx(0.0, abs=1e-9)


def test_accumulated_steps_make_the_update_of_one_larger_batch(tiny):
    """Halves of a batch have the same mean loss; batch normalisation and dropout are held still."""
    found = {}
    for accumulate in (1, 2):
        keras.utils.set_random_seed(1)
        recipe = replace(tiny, accumulate=accumulate, loss="bce", loss_reduction="image")
        model = compile_model(recipe, "float32", steps=STEPS)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
            if isinstance(layer, keras.layers.SpatialDropout2D):
                layer.rate = 0.0
        model.compile(model.optimizer, loss=model.loss)
        for rows in np.split(np.arange(8), accumulate):
            model.train_on_batch(IMAGES[rows], MASKS[rows])
        found[accumulate] = model.get_weights()
    for one, two in zip(found[1], found[2], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ema": 0.9},
        {"clip_norm": 0.1},
        {"accumulate": 2},
        {"ema": 0.9, "clip_norm": 0.1, "accumulate": 2},
    ],
    ids=str,
)
def test_the_fused_adam_does_what_keras_own_does(options, tiny, monkeypatch):
    found = []
    for fused in (True, False):
        with monkeypatch.context() as patch:
            if not fused:
                patch.setattr(making, "on_one_device", lambda: False)
            keras.utils.set_random_seed(3)
            model = compile_model(replace(tiny, **options), "float32", steps=STEPS)
        model.jit_compile = False
        for _ in range(4):
            model.train_on_batch(IMAGES, MASKS)
        # A bias before batch normalisation has no gradient but noise.
        variables = [*model.variables, *model.optimizer.variables]
        found.append([np.asarray(one.value) for one in variables if "bias" not in one.path])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-5)


def test_a_longer_gradient_is_clipped(tiny):
    lengths = {}
    for clip in (0.0, 1e-3):
        keras.utils.set_random_seed(3)
        optimizer = compile_model(replace(tiny, clip_norm=clip), "float32", steps=STEPS).optimizer
        lengths[clip] = optimizer.global_clipnorm
    assert lengths == {0.0: None, 1e-3: 1e-3}
