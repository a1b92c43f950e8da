"""Prediction: what the folds of a run and mirror images become, in one network that is traced once."""

import os
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from tests import forks
from tests.inference.echo import BUILDER, PLAIN, build_echo, headed, make_run

from pneumothorax.data.cache import Cache
from pneumothorax.errors import UserError
from pneumothorax.inference import predict
from pneumothorax.inference.fold_networks import Networks, load_folds
from pneumothorax.inference.predict import predict_rows, see
from pneumothorax.inference.predictions import quantise
from pneumothorax.training.run import find_folds

SIZE = 32


def make_cache(folder, number=5):
    images = np.random.default_rng(0).integers(0, 256, (number, SIZE, SIZE), dtype=np.uint8)
    studies = pd.DataFrame({"ImageId": [f"i{row}" for row in range(number)], "EncodedPixels": "-1"})
    studies = studies.assign(area=0, height=1024, width=1024)
    return Cache(folder, images, np.zeros_like(images), studies)


def make_networks(*gains, size=SIZE, image_probability=False):
    """Make folds that see left and right differently: brightness, times a ramp, times the fold's gain.

    The image-level probability is the mean brightness of the left half, times the gain.
    """
    images = keras.Input((size, size, 1), dtype="uint8")
    ramp = np.linspace(0, 1 / 255, size, dtype=np.float32)[None, None, :, None]
    bright = keras.ops.cast(images, "float32")
    output = keras.layers.Conv2D(1, 1, use_bias=False, name="probability")(bright * ramp)
    if image_probability:
        left = keras.ops.mean(bright[:, :, : size // 2], axis=(1, 2)) / 255  # (N, 1)
        output = {
            "probability": output,
            "classification": keras.layers.Dense(1, use_bias=False, name="classification")(left),
        }
    model = keras.Model(images, output)
    values = [[keras.ops.full(weight.shape, gain) for weight in model.weights] for gain in gains]
    model.set_weights([np.full(weight.shape, gains[-1], np.float32) for weight in model.weights])
    return Networks(model, [Path(f"fold{number}") for number in range(len(gains))], values)


def ramp_of(images, weight):
    return images * np.linspace(0, weight, SIZE)[None, None, :]


def test_the_mean_of_all_folds_is_stored_for_the_rows_in_their_order(tmp_path):
    cache = make_cache(tmp_path)
    rows = np.array([3, 0, 4])
    found = predict_rows(make_networks(0.2, 0.6), cache, rows, tmp_path / "out")
    assert found.studies["ImageId"].tolist() == ["i3", "i0", "i4"]
    np.testing.assert_allclose(found.probabilities, ramp_of(cache.images[rows], 0.4), atol=0.51)


def test_a_mirror_image_is_predicted_and_turned_back(tmp_path):
    cache = make_cache(tmp_path)
    rows = np.arange(5)
    found = predict_rows(make_networks(1.0), cache, rows, tmp_path / "out", flip=True)
    mirrored = ramp_of(cache.images[:, :, ::-1], 1.0)[:, :, ::-1]
    expected = (ramp_of(cache.images, 1.0) + mirrored) / 2
    np.testing.assert_allclose(found.probabilities, expected, atol=0.51)
    np.testing.assert_allclose(found.probabilities, cache.images / 2, atol=0.51)  # the ramp is gone


@pytest.mark.parametrize("flip", [False, True])
def test_the_image_probability_is_averaged_as_the_map_is_and_stored_beside_it(tmp_path, flip):
    cache, rows = make_cache(tmp_path), np.array([3, 0, 4])
    networks = make_networks(0.2, 0.6, image_probability=True)
    found = predict_rows(networks, cache, rows, tmp_path / "out", flip=flip)
    seen = cache.images[rows] if flip else cache.images[rows][:, :, : SIZE // 2]
    np.testing.assert_allclose(found.image_probability, 0.4 * seen.mean(axis=(1, 2)) / 255, atol=2e-6)
    same = predict_rows(make_networks(0.2, 0.6), cache, rows, tmp_path / "plain", flip=flip)
    np.testing.assert_array_equal(found.probabilities, same.probabilities)
    assert same.image_probability is None
    assert "image_probability" not in same.studies


def test_a_network_of_another_size_is_refused(tmp_path):
    with pytest.raises(UserError, match="images of 32 pixels for a network of 64"):
        predict_rows(make_networks(1.0, size=64), make_cache(tmp_path), np.arange(2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("gain", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["probability", "classification"])
@pytest.mark.parametrize("flip", [False, True])
def test_an_output_that_is_no_finite_number_is_never_stored_as_empty(tmp_path, gain, part, flip):
    networks = make_networks(0.5, 0.7, 0.9, image_probability=True)
    index = [weight.path.split("/")[0] for weight in networks.model.weights].index(part)
    networks._values[1][index] = keras.ops.full(networks.model.weights[index].shape, gain)
    with pytest.raises(UserError, match=f"network of fold1 predicts a {part} that is no finite number"):
        predict_rows(networks, make_cache(tmp_path), np.arange(2), tmp_path / "out", flip=flip)
    assert not (tmp_path / "out").exists()


# One network for all folds


@pytest.fixture
def traces(monkeypatch):
    """Count how often the network is traced, by the shape of the batch."""
    seen = []
    step = keras.Model.predict_step

    def counted(self, data):
        seen.append(data[0].shape[0])
        return step(self, data)

    monkeypatch.setattr(keras.Model, "predict_step", counted)
    return seen


@pytest.fixture
def small_batches(monkeypatch):
    """Let 4 images be a batch and 8 a chunk."""
    monkeypatch.setattr(predict, "images_at_once", lambda model: 4)
    monkeypatch.setattr(predict, "SUMS", 8 * 4 * SIZE**2)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("number", [3, 4, 19])
@pytest.mark.parametrize("recipe", [PLAIN, headed(PLAIN)], ids=["plain", "headed"])
def test_all_folds_and_batches_are_one_trace_and_give_the_mean_of_networks_loaded_alone(
    tmp_path, monkeypatch, traces, number, recipe
):
    monkeypatch.setattr(BUILDER, build_echo)
    folds = find_folds(make_run(tmp_path, gains=(1.0, 0.31, 0.57), recipe=recipe))
    cache, rows = make_cache(tmp_path, number), np.arange(number)[::-1]
    found = predict_rows(load_folds(folds), cache, rows, tmp_path / "out", flip=True)
    assert traces == [min(4, number)]
    total, image_probability = np.zeros((number, SIZE, SIZE, 1), np.float32), np.zeros(number)
    for fold in folds:
        alone = build_echo(recipe)
        alone.load_weights(fold.weights)
        for step in (1, -1):
            outputs = alone.predict_on_batch(np.ascontiguousarray(cache.images[rows][:, :, ::step, None]))
            outputs = outputs if isinstance(outputs, dict) else {"probability": outputs}
            total += outputs["probability"][:, :, ::step]
            image_probability += outputs["classification"][:, 0] if recipe.classification_head else 0
    np.testing.assert_array_equal(found.probabilities, quantise(total[..., 0] / 6))
    if recipe.classification_head:
        np.testing.assert_allclose(found.image_probability, image_probability / 6, atol=1e-6)


@pytest.mark.usefixtures("small_batches")
def test_images_that_fill_a_batch_are_thrown_away(tmp_path):
    networks, cache = make_networks(1.0), make_cache(tmp_path, 5)
    whole = predict_rows(
        networks, cache, np.arange(5), tmp_path / "whole"
    )  # two batches of three, one filled
    for row in range(5):
        alone, _ = see(networks, cache.images[[row]], flip=False)
        np.testing.assert_array_equal(alone[0], whole.probabilities[row])


def test_folds_can_be_predicted_in_any_order(tmp_path):
    networks, cache = make_networks(0.2, 0.4, 0.8), make_cache(tmp_path)
    images = cache.images[..., None]
    first = [networks.predict(fold, images)["probability"] for fold in range(3)]
    for fold in (2, 0, 1, 1, 0, 2):
        np.testing.assert_array_equal(networks.predict(fold, images)["probability"], first[fold])


def test_the_bar_counts_images_whatever_the_folds(tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "images_at_once", lambda model: 2)
    seen = []
    see(
        make_networks(0.2, 0.4),
        make_cache(tmp_path).images,
        flip=True,
        batch=2,
        advance=seen.append,
    )
    assert seen == 2 * [2, 2, 2, 2, 1, 1]


def test_folds_of_several_recipes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDER, build_echo)
    folds = [
        *find_folds(make_run(tmp_path, "one")),
        *find_folds(make_run(tmp_path, "two", recipe=headed(PLAIN))),
    ]
    with pytest.raises(UserError, match="was trained by another recipe"):
        load_folds(folds)


def test_too_little_memory_is_one_line(tmp_path, monkeypatch):
    import tensorflow as tf

    def exhausted(self, data):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "predict_step", exhausted)
    with pytest.raises(UserError, match="out of memory while predicting 2 images of 32 pixels") as caught:
        predict_rows(make_networks(1.0), make_cache(tmp_path), np.arange(2), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


ON_JAX = """
import sys
from pathlib import Path
import jax, keras, numpy as np
from tests.inference import echo
from pneumothorax.inference import fold_networks
from pneumothorax.inference.predict import load_folds, see
from pneumothorax.training.run import find_folds

fold_networks.build_model = echo.build_echo
traced = []
step = keras.Model.predict_step
keras.Model.predict_step = lambda self, *rest: traced.append(1) or step(self, *rest)
if sys.argv[2] == "distributed":
    assert len(jax.devices()) == 4
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
run = echo.make_run(Path(sys.argv[1]), gains=(1.0, 0.25, 0.5), recipe=echo.headed(echo.PLAIN))
networks = load_folds(find_folds(run))
images = np.random.default_rng(0).integers(0, 256, (7, 32, 32), dtype=np.uint8)
for _ in range(2):
    maps, image_probability = see(networks, images, flip=True, batch=3)
    assert np.abs(maps - images * (1.75 / 3)).max() < 0.51
    assert np.allclose(image_probability, images.mean(axis=(1, 2)) / 255 * (1.75 / 3), atol=1e-5)
assert len(traced) == 1, traced
"""


@pytest.mark.slow
@pytest.mark.parametrize("devices", ["alone", "distributed"])
def test_on_jax_the_folds_take_turns_too(tmp_path, devices):
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    code, printed = forks.run(ON_JAX, tmp_path, devices, environment=environment)
    assert code == 0, printed
