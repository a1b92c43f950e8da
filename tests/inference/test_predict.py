"""Prediction: what several networks and mirror images become."""

import keras
import numpy as np
import pandas as pd
import pytest

from pneumothorax.data.cache import Cache
from pneumothorax.errors import UserError
from pneumothorax.inference.predict import predict_rows

SIZE = 32


def make_cache(folder, number=5):
    images = np.random.default_rng(0).integers(0, 256, (number, SIZE, SIZE), dtype=np.uint8)
    studies = pd.DataFrame({"ImageId": [f"i{row}" for row in range(number)], "EncodedPixels": "-1"})
    studies = studies.assign(area=0, height=1024, width=1024)
    return Cache(folder, images, np.zeros_like(images), studies)


def make_network(weight, size=SIZE):
    """Build a network that sees left and right differently: brightness, times a ramp, times a weight."""
    images = keras.Input((size, size, 1), dtype="uint8")
    ramp = np.linspace(0, weight / 255, size, dtype=np.float32)[None, None, :, None]
    return keras.Model(images, keras.ops.cast(images, "float32") * ramp)


def make_headed(weight):
    """Build a network that also tells a presence: the mean brightness of the left half, times a weight."""
    network = make_network(weight)
    left = keras.ops.cast(network.input[:, :, : SIZE // 2], "float32")
    presence = keras.ops.mean(left, axis=(1, 2)) * (weight / 255)  # (N, 1)
    return keras.Model(network.input, {"probability": network.output, "presence": presence})


def ramp_of(images, weight):
    return images * np.linspace(0, weight, SIZE)[None, None, :]


def test_the_mean_of_all_networks_is_stored_for_the_rows_in_their_order(tmp_path):
    cache = make_cache(tmp_path)
    rows = np.array([3, 0, 4])
    found = predict_rows([make_network(0.2), make_network(0.6)], cache, rows, tmp_path / "out")
    assert found.studies["ImageId"].tolist() == ["i3", "i0", "i4"]
    np.testing.assert_allclose(found.probabilities, ramp_of(cache.images[rows], 0.4), atol=0.51)


def test_a_mirror_image_is_predicted_and_turned_back(tmp_path):
    cache = make_cache(tmp_path)
    rows = np.arange(5)
    found = predict_rows([make_network(1.0)], cache, rows, tmp_path / "out", flip=True)
    mirrored = ramp_of(cache.images[:, :, ::-1], 1.0)[:, :, ::-1]
    expected = (ramp_of(cache.images, 1.0) + mirrored) / 2
    np.testing.assert_allclose(found.probabilities, expected, atol=0.51)
    np.testing.assert_allclose(found.probabilities, cache.images / 2, atol=0.51)  # the ramp is gone


@pytest.mark.parametrize("flip", [False, True])
def test_the_presence_is_averaged_as_the_map_is_and_stored_beside_it(tmp_path, flip):
    cache, rows = make_cache(tmp_path), np.array([3, 0, 4])
    found = predict_rows([make_headed(0.2), make_headed(0.6)], cache, rows, tmp_path / "out", flip=flip)
    seen = cache.images[rows] if flip else cache.images[rows][:, :, : SIZE // 2]
    np.testing.assert_allclose(found.presence, 0.4 * seen.mean(axis=(1, 2)) / 255, atol=2e-6)
    plain = [make_network(0.2), make_network(0.6)]
    same = predict_rows(plain, cache, rows, tmp_path / "plain", flip=flip)
    np.testing.assert_array_equal(found.probabilities, same.probabilities)
    assert same.presence is None
    assert "presence" not in same.studies


def test_networks_with_and_without_a_presence_are_not_averaged(tmp_path):
    with pytest.raises(UserError, match="with an empty head and networks without"):
        predict_rows(
            [make_headed(0.2), make_network(0.6)], make_cache(tmp_path), np.arange(2), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_a_network_of_another_size_is_refused(tmp_path):
    with pytest.raises(UserError, match="images of 32 pixels for a network of 64"):
        predict_rows([make_network(1.0, 64)], make_cache(tmp_path), np.arange(2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weight", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["probability", "presence"])
@pytest.mark.parametrize("flip", [False, True])
def test_what_is_no_finite_number_is_never_stored_as_empty(tmp_path, weight, part, flip):
    whole = make_headed(0.5)
    outputs = {name: output * (weight if name == part else 1) for name, output in whole.output.items()}
    models = [whole, keras.Model(whole.input, outputs, name="broken")]
    with pytest.raises(UserError, match=f"network of broken tells a {part} that is no finite number"):
        predict_rows(models, make_cache(tmp_path), np.arange(2), tmp_path / "out", flip=flip)
    assert not (tmp_path / "out").exists()
