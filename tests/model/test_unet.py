import contextlib
import functools
import resource
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumothorax.errors import UserError
from pneumothorax.model import unet
from pneumothorax.model.architectures import find_encoder
from pneumothorax.model.encoders import table, xception
from pneumothorax.model.unet import build_model, input_scale, load_weights, save_weights
from pneumothorax.recipe import Recipe

pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.slow]
TINY = Recipe(size=32, encoder="mobilenet", encoder_weights="none", decoder_filters=(8, 8, 8, 8, 8))
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)


def inner(model: keras.Model) -> keras.Model:
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


@functools.cache
def plain_model() -> keras.Model:
    """Build the network of `TINY` that no test changes."""
    return build_model(TINY)


def test_grey_bytes_go_in_and_float32_probabilities_come_out():
    probability = plain_model().predict_on_batch(IMAGES)
    assert probability.shape == IMAGES.shape
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_empty_head_is_a_float32_sigmoid_on_the_encoders_output(precision):
    recipe = replace(TINY, classification_head=True, loss="bce + 0.1 * classification")
    model = build_model(recipe, precision)
    found = model.predict_on_batch(IMAGES)
    assert found["probability"].shape == IMAGES.shape
    assert found["classification"].shape == (len(IMAGES), 1)
    assert {output.dtype for output in found.values()} == {np.dtype("float32")}
    assert 0 < found["classification"].min() <= found["classification"].max() < 1
    encoded = inner(model).outputs[1]
    assert encoded.shape[1:3] == (1, 1)  # 32 pixels, halved five times


def test_the_empty_head_leaves_the_rest_of_the_network_as_it_is(tmp_path):
    keras.utils.set_random_seed(2)
    headed = build_model(replace(TINY, classification_head=True, loss="bce + 0.1 * classification"))
    plain = build_model(TINY)
    inner(plain).set_weights(inner(headed).get_weights())
    np.testing.assert_allclose(
        plain.predict_on_batch(IMAGES), headed.predict_on_batch(IMAGES)["probability"], atol=1e-6
    )


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_the_sigmoid_is_float32_under_mixed_precision(precision):
    model = build_model(TINY, precision)
    assert model.layers[-1].compute_dtype == "float32"
    assert inner(model).get_layer("final_conv").compute_dtype == precision.removeprefix("mixed_")
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("size", [64, 96])
def test_xceptions_skips_are_exact_halves(size):
    encoder = xception.xception(input_shape=(size, size, 3))
    sides = [encoder.get_layer(name).output.shape[1] for name in xception.SKIPS]
    assert sides == [size // 16, size // 8, size // 4, size // 2]
    assert encoder.output.shape[1:] == (size // 32, size // 32, 2048)


def test_xception_keeps_the_order_of_the_original_weights():
    original = keras.applications.Xception(include_top=False, weights=None, input_shape=(96, 96, 3))
    ours = xception.xception(input_shape=(96, 96, 3))
    assert [w.shape for w in ours.weights] == [w.shape for w in original.weights]


def test_the_papers_network_has_thirty_million_parameters():
    model = build_model(replace(TINY, size=64, encoder="xception", decoder_filters=(256, 128, 64, 32, 16)))
    assert model.output_shape == (None, 64, 64, 1)
    assert 30.0e6 < model.count_params() < 30.3e6


@pytest.mark.parametrize(
    ("encoder", "black", "white"),
    [("xception", [-1, -1, -1], [1, 1, 1]), ("resnet18", [0, 0, 0], [255, 255, 255])],
)
def test_the_network_scales_its_input_as_the_encoder_wants(encoder, black, white):
    mean, deviation = input_scale(encoder)
    np.testing.assert_allclose((0 - mean) / deviation, black, atol=1e-5)
    np.testing.assert_allclose((255 - mean) / deviation, white, rtol=1e-5)


def test_the_untrained_network_begins_at_the_prior():
    model = build_model(replace(TINY, prior=0.01))
    assert inner(model).get_layer("final_conv").bias.numpy() == pytest.approx(np.log(0.01 / 0.99))


def test_batch_normalisation_takes_the_recipes_momentum():
    layers = inner(build_model(replace(TINY, batch_norm_momentum=0.8))).layers
    momenta = {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.8}


def test_weights_come_back_as_they_were(tmp_path):
    model = plain_model()
    save_weights(model, tmp_path / "a.weights.h5")
    again = build_model(TINY, trained=True)
    load_weights(again, tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(model.predict_on_batch(IMAGES), again.predict_on_batch(IMAGES))
    assert [path.name for path in tmp_path.iterdir()] == ["a.weights.h5"]


@pytest.mark.parametrize("other", [{"encoder": "mobilenetv2"}, {"decoder_filters": (16, 8, 8, 8, 8)}])
def test_weights_of_another_network_are_refused(other, tmp_path):
    save_weights(build_model(replace(TINY, **other)), tmp_path / "a.weights.h5")
    with pytest.raises(UserError, match="do not fit"):
        load_weights(build_model(TINY), tmp_path / "a.weights.h5")


@pytest.fixture
def small_disk():
    """Let no file become longer than two blocks, as where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_the_old_weights_stay_and_hdf5_is_not_asked(tmp_path, small_disk):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"old")
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256)])
    with pytest.raises(OSError, match="File too large"):
        save_weights(model, path)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_a_file_without_weights_is_refused(content, tmp_path):
    path = tmp_path / "a.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.weights\.h5"):
        load_weights(plain_model(), path)


def test_a_damaged_address_in_a_file_of_weights_is_one_line(tmp_path):
    path = tmp_path / "a.weights.h5"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_weights(model, path)
    whole = path.read_bytes()
    for place in range(0, 840, 8):  # of the first tables
        path.write_bytes(whole[:place] + bytes([255, 255, 255, 0, 0, 0, 0, 0]) + whole[place + 8 :])
        with contextlib.suppress(UserError):
            load_weights(model, path)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_the_encoder_takes_a_local_file_of_weights(suffix, tmp_path):
    encoder = find_encoder(inner(plain_model()))
    path = tmp_path / f"encoder{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls .h5 a legacy format; the ImageNet files have it
        encoder.save_weights(path) if suffix == ".weights.h5" else encoder.save(path)
    taken = build_model(replace(TINY, encoder_weights=str(path)))
    pairs = zip(encoder.get_weights(), find_encoder(inner(taken)).get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    fresh = find_encoder(inner(build_model(TINY))).get_weights()
    assert not all(np.array_equal(a, b) for a, b in zip(encoder.get_weights(), fresh, strict=True))


def test_encoder_weights_of_another_encoder_are_refused(tmp_path):
    other = find_encoder(inner(build_model(replace(TINY, encoder="mobilenetv2"))))
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match=r"does not fit the encoder mobilenet\b"):
        build_model(replace(TINY, encoder_weights=str(tmp_path / "other.weights.h5")))


def test_a_missing_file_of_encoder_weights_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no file of encoder weights .*gone\.h5"):
        build_model(replace(TINY, encoder_weights=str(tmp_path / "gone.h5")))


@pytest.mark.parametrize("encoder", ["xception", "resnet18"])
def test_imagenet_weights_out_of_reach_are_one_line_with_the_cure(encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure on https://example.invalid/weights.h5: None -- no route")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    with pytest.raises(UserError, match="--encoder-weights none") as caught:
        build_model(replace(TINY, encoder=encoder, encoder_weights="imagenet"))
    assert "turn the internet on; or attach" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trained_network_is_rebuilt_without_imagenet_weights(monkeypatch):
    monkeypatch.setattr(unet, "_load_encoder", None)
    assert build_model(replace(TINY, encoder_weights="imagenet"), trained=True)


def test_an_unknown_encoder_is_told_the_known_ones():
    with pytest.raises(UserError, match=r"one of .*xception"):
        build_model(replace(TINY, encoder="resnet19"))


def test_every_encoder_of_the_library_is_listed():
    names = table.encoder_names()
    assert {"xception", "resnet34", "efficientnetb4", "densenet121", "seresnext50", "vgg16"} <= set(names)
