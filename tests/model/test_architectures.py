"""Every architecture and every encoder builds, begins at the prior, takes local weights and learns."""

import itertools
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumothorax.errors import UserError
from pneumothorax.model import fast, unet
from pneumothorax.model.architectures import build_encoder, build_network, find_encoder, find_head
from pneumothorax.model.encoders.table import encoder_names
from pneumothorax.model.unet import build_model, load_weights, save_weights
from pneumothorax.recipe import Recipe
from pneumothorax.training.compiling import compile_model

ARCHITECTURES = ("unet", "fpn", "linknet", "pspnet")
TINY = Recipe(size=96, encoder="mobilenet", encoder_weights="none", decoder_filters=(8, 8, 8, 8, 8))
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 1), dtype=np.uint8)
# Parameters of the U-Net on each encoder.
PARAMETERS = {
    "densenet121": 12_144_977,
    "densenet169": 19_519_825,
    "densenet201": 26_378_577,
    "efficientnetb0": 10_115_501,
    "efficientnetb1": 12_641_169,
    "efficientnetb2": 14_295_299,
    "efficientnetb3": 17_867_833,
    "efficientnetb4": 25_735_017,
    "efficientnetb5": 37_468_673,
    "efficientnetb6": 50_906_009,
    "efficientnetb7": 75_048_097,
    "efficientnetlite0": 9_478_961,
    "inceptionresnetv2": 62_061_553,
    "inceptionv3": 29_933_105,
    "mobilenet": 8_336_337,
    "mobilenetv2": 8_047_441,
    "resnet101": 51_605_466,
    "resnet152": 67_295_194,
    "resnet18": 14_340_570,
    "resnet34": 24_456_154,
    "resnet50": 32_561_114,
    "resnext101": 51_281_626,
    "resnext50": 32_063_194,
    "senet154": 122_321_025,
    "seresnet101": 56_398_273,
    "seresnet152": 73_939_329,
    "seresnet18": 14_429_650,
    "seresnet34": 24_617_350,
    "seresnet50": 35_107_201,
    "seresnext101": 56_059_329,
    "seresnext50": 34_594_177,
    "vgg16": 23_752_273,
    "vgg19": 29_061_969,
    "xception": 30_143_801,
}
BUILT = ("efficientnetlite0", "mobilenet", "mobilenetv2", "resnet18", "resnet34", "vgg16", "xception")
# One of each family: its members name and order their feature maps alike.
FAMILIES = (
    *("densenet121", "efficientnetb0", "inceptionresnetv2", "inceptionv3", "mobilenet", "mobilenetv2"),
    *("resnet18", "resnext50", "seresnet18", "seresnet50", "seresnext50", "vgg16", "xception"),
)
LARGE = ("inceptionresnetv2", "seresnext50")


pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.slow]


def inner(model: keras.Model) -> keras.Model:
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Let Keras forget the networks of a test, of which some are large."""
    yield
    keras.backend.clear_session()


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [("unet", "xception"), ("fpn", "mobilenet"), ("linknet", "mobilenetv2"), ("pspnet", "vgg16")],
)
def test_each_architecture_trains_a_step(architecture, encoder):
    recipe = replace(TINY, architecture=architecture, encoder=encoder, loss="bce + dice + focal + lovasz")
    model = compile_model(recipe, "float32")
    assert model.name == f"{architecture}_{encoder}"
    assert model.output_shape == (None, 96, 96, 1)
    mask = (IMAGES > 200).astype(np.float32)
    before = [weight.numpy() for weight in inner(model).trainable_weights]
    loss, *_ = model.train_on_batch(IMAGES, mask)
    assert np.isfinite(loss)
    after = [weight.numpy() for weight in inner(model).trainable_weights]
    assert all(np.isfinite(weight).all() for weight in after)
    assert sum(np.any(a != b) for a, b in zip(before, after, strict=True)) > 0.9 * len(before)
    probability = model.predict_on_batch(IMAGES)
    assert probability.shape == IMAGES.shape
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


@pytest.mark.parametrize("precision", ["mixed_float16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_sigmoid_of_each_architecture_is_float32_after_a_head_without_one(architecture, precision):
    model = build_model(replace(TINY, architecture=architecture), precision)
    assert model.layers[-1].compute_dtype == "float32"
    assert find_head(inner(model)).compute_dtype == precision.removeprefix("mixed_")
    assert inner(model).layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_begins_at_the_prior(architecture):
    network = inner(build_model(replace(TINY, architecture=architecture, prior=0.01)))
    head = find_head(network)
    assert head.filters == 1
    assert head.bias.numpy() == pytest.approx(np.log(0.01 / 0.99))
    head.kernel.assign(np.zeros(head.kernel.shape))
    logits = network.predict_on_batch(np.zeros((1, 96, 96, 3)))
    np.testing.assert_allclose(logits, np.log(0.01 / 0.99), rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        *(("unet", "mobilenetv2"), ("fpn", "vgg16"), ("linknet", "mobilenetv2"), ("pspnet", "vgg16")),
        pytest.param("unet", "vgg16", marks=pytest.mark.thorough),
        pytest.param("fpn", "mobilenetv2", marks=pytest.mark.thorough),
        pytest.param("linknet", "vgg16", marks=pytest.mark.thorough),
        pytest.param("pspnet", "mobilenetv2", marks=pytest.mark.thorough),
    ],
)
def test_fused_kernels_leave_each_architecture_what_it_is(architecture, encoder, tmp_path, monkeypatch):
    recipe = replace(TINY, architecture=architecture, encoder=encoder)
    quick = build_model(recipe)
    assert fast.BatchNormalization in {type(layer) for layer in inner(quick).layers}
    save_weights(quick, tmp_path / "a.weights.h5")
    monkeypatch.setattr(unet, "on_one_device", lambda: False)
    plain = build_model(recipe, trained=True)
    assert fast.BatchNormalization not in {type(layer) for layer in inner(plain).layers}
    load_weights(plain, tmp_path / "a.weights.h5")
    np.testing.assert_allclose(quick.predict_on_batch(IMAGES), plain.predict_on_batch(IMAGES), atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        *((name, "mobilenet") for name in ARCHITECTURES),
        pytest.param("pspnet", "xception", marks=pytest.mark.thorough),
    ],
)
def test_each_architecture_takes_a_file_of_the_whole_encoder(architecture, encoder, tmp_path):
    recipe = replace(TINY, architecture=architecture, encoder=encoder)
    whole, part = build_encoder(recipe)
    images = np.random.default_rng(1).normal(0, 1, (1, 96, 96, 3)).astype(np.float32)
    seen = part.predict_on_batch(images)
    for suffix in (".h5", ".weights.h5"):
        path = tmp_path / f"encoder{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras calls .h5 a legacy format; the ImageNet files have it
            whole.save_weights(path) if suffix == ".weights.h5" else whole.save(path)
        taken = find_encoder(inner(build_model(replace(recipe, encoder_weights=str(path)))))
        assert taken.count_params() == part.count_params()
        assert (taken.count_params() < whole.count_params()) == (architecture == "pspnet")
        pairs = zip(part.get_weights(), taken.get_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
        np.testing.assert_allclose(taken.predict_on_batch(images), seen, rtol=1e-3, atol=1e-3)


def test_weights_load_into_their_own_architecture_alone(tmp_path):
    models = {name: build_model(replace(TINY, architecture=name), trained=True) for name in ARCHITECTURES}
    for name, model in models.items():
        save_weights(model, tmp_path / f"{name}.weights.h5")
    for name, model in models.items():
        load_weights(model, tmp_path / f"{name}.weights.h5")
        for other in {*ARCHITECTURES} - {name}:
            with pytest.raises(UserError, match=f"do not fit {name}_mobilenet .*same architec") as caught:
                load_weights(model, tmp_path / f"{other}.weights.h5")
            assert "\n" not in str(caught.value)


def test_decoder_filters_shape_unet_and_linknets_last_block_alone():
    def count(architecture, **filters):
        return build_network(replace(TINY, architecture=architecture, **filters), None).count_params()

    for architecture, changes in (
        ("unet", (True, True)),
        ("linknet", (False, True)),
        ("fpn", (False, False)),
    ):
        first, last = (count(architecture, decoder_filters=f) for f in ((16, 8, 8, 8, 8), (8, 8, 8, 8, 16)))
        usual = count(architecture)
        assert (first != usual, last != usual) == changes


def test_pspnet_takes_sizes_that_32_does_not_divide():
    model = build_model(replace(TINY, architecture="pspnet", size=144))
    assert model.output_shape == (None, 144, 144, 1)


def test_an_encoder_that_takes_no_image_so_small_is_one_line():
    with pytest.raises(UserError, match=r"encoder inceptionv3 at size 64 .*75x75.*larger --size") as caught:
        build_model(replace(TINY, size=64, encoder="inceptionv3"))
    assert "\n" not in str(caught.value)


def test_each_encoder_stands_in_the_table():
    assert sorted(PARAMETERS) == encoder_names()


@pytest.mark.parametrize(
    "encoder",
    [pytest.param(name, marks=() if name in BUILT else pytest.mark.thorough) for name in PARAMETERS],
)
def test_each_encoder_makes_a_unet(encoder):
    size = 96 if encoder == "inceptionv3" else 32
    network = build_network(Recipe(size=size, encoder=encoder), None)
    assert network.output_shape == (None, size, size, 1)
    assert network.count_params() == PARAMETERS[encoder]
    assert len(find_encoder(network).layers) > 15


@pytest.mark.parametrize(
    ("encoder", "architecture"),
    [
        pytest.param(*pair, marks=pytest.mark.thorough if pair[0] in LARGE else ())
        for pair in zip(FAMILIES, itertools.cycle(["fpn", "linknet", "pspnet"]), strict=False)
    ],
)
def test_each_family_of_encoders_makes_another_network(encoder, architecture):
    recipe = Recipe(size=96, encoder=encoder, architecture=architecture)
    network = build_network(recipe, None)
    assert network.output_shape == (None, 96, 96, 1)
    assert find_head(network).filters == 1
    part = build_encoder(recipe)[1]
    assert [w.shape for w in find_encoder(network).weights] == [w.shape for w in part.weights]
