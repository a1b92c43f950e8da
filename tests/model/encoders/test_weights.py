"""An encoder's weights: where they are found, that they arrive as they were, and files that are refused."""

import hashlib
import json
import pickle
import warnings
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from pneumothorax.errors import UserError
from pneumothorax.model import unet
from pneumothorax.model.architectures import build_encoder, find_encoder
from pneumothorax.model.encoders import weights
from pneumothorax.model.encoders.weights import find_weights, imagenet_file, note_weights, read_note
from pneumothorax.model.encoders.weights_file import inspect_file
from pneumothorax.model.unet import build_model
from pneumothorax.recipe import Recipe

pytestmark = pytest.mark.slow

TINY = Recipe(size=32, encoder="mobilenetv2", encoder_weights="imagenet", decoder_filters=(8,) * 5)
NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"  # of TINY
XCEPTION = replace(TINY, encoder="xception")
MODEL = "keras/mobilenet/keras/v2_imagenet/2"  # there is none; stands for xception_41_imagenet
LAYOUTS = {
    "new": "models/keras/mobilenet/keras/v2_imagenet/2",
    "old": "mobilenet/keras/v2_imagenet/2",
}
# Of the 234 names and shapes in a file that keras-hub 0.32 itself wrote of XceptionBackbone.
HUB_LAYOUT = "18280f662a74c9d5e483e40455536d9035c67e55ab0ce098f70c2acb62aff08d"


@pytest.fixture(scope="module")
def donor():
    """An encoder whose weights are saved in many forms."""
    keras.utils.set_random_seed(4)
    return build_encoder(TINY)[0]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A machine without internet, with an empty cache of Keras' and no inputs."""

    def unreachable(name, *args, **kwargs):
        raise Exception(f"URL fetch failure on https://example.invalid/{name}: None -- no route")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(tmp_path / "input"))
    monkeypatch.setitem(weights.KAGGLE_MODELS, "mobilenetv2", MODEL)
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path


def save(encoder, path):
    """Save by Keras' format of today or, where the name ends in .h5 alone, by that of its ImageNet files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls .h5 a legacy format
        encoder.save_weights(path) if path.name.endswith(".weights.h5") else encoder.save(path)
    return path


def encoder_of(model):
    return find_encoder(next(layer for layer in model.layers if isinstance(layer, keras.Model)))


def assert_taken(recipe, donor):
    found = encoder_of(build_model(recipe)).get_weights()
    assert len(found) == len(donor.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(found, donor.get_weights(), strict=True))


def refused(function, *arguments):
    """Return the one line by which a function refuses its arguments."""
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_by_encoder(path):
    return refused(unet._load_encoder, None, TINY, path)  # before it touches the network


# Where they are found


def test_an_attached_kaggle_model_serves_without_internet(donor, place):
    save(donor, place / "input" / LAYOUTS["new"] / "model.weights.h5")
    assert_taken(TINY, donor)


def test_an_attached_kaggle_model_of_the_older_layout_is_found(place):
    path = place / "input" / LAYOUTS["old"] / "model.weights.h5"
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_weights(TINY).path == path


def test_an_attached_file_of_keras_own_serves_without_internet(donor, place):
    save(donor, place / "input" / "datasets" / "me" / "weights" / NAME)
    assert_taken(TINY, donor)


def test_the_cache_goes_before_files_before_models_before_a_download(place):
    source = find_weights(TINY)
    assert (source.source, source.path.name, source.by_keras) == ("download", NAME, True)
    for path in (
        "models/keras/mobilenet/keras/v2_imagenet/2/model.weights.h5",
        f"datasets/me/weights/{NAME}",
    ):
        found = place / "input" / path
        found.parent.mkdir(parents=True)
        found.touch()
        source = find_weights(TINY)
        assert (source.source, source.path, source.by_keras) == ("attached input", found, False)
    cached = place / "keras" / "models" / NAME
    cached.symlink_to(found)  # as the notebook's first cell does
    assert find_weights(TINY).source == "attached input"
    cached.unlink()
    cached.touch()
    assert find_weights(TINY) == weights.Origin("Keras' cache", cached, by_keras=True)
    assert find_weights(replace(TINY, encoder_weights="none")) is None


def test_the_version_that_is_named_goes_before_others(place):
    for version in ("1", "2", "3"):
        (place / "input" / "mobilenet" / "keras" / "v2_imagenet" / version).mkdir(parents=True)
    assert [folder.name for folder in weights.list_models("mobilenetv2")] == ["2", "1", "3"]


@pytest.mark.parametrize("name", ["model.weights.h5", NAME, "mine.h5"])
def test_a_folder_is_taken_for_the_file_in_it(place, name):
    (place / "mine").mkdir()
    for there in (name, "config.json"):
        (place / "mine" / there).touch()
    recipe = replace(TINY, encoder_weights=str(place / "mine"))
    assert find_weights(recipe) == weights.Origin("file", place / "mine" / name)


@pytest.mark.parametrize(("layout", "name"), [(".h5", "a.weights.h5"), (".weights.h5", "a.h5")])
def test_a_file_is_read_by_its_layout_whatever_its_name(donor, place, layout, name):
    path = save(donor, place / f"x{layout}").rename(place / name)
    assert_taken(replace(TINY, encoder_weights=str(path)), donor)


def test_names_are_those_of_the_library():
    from classification_models.weights import WEIGHTS_COLLECTION

    for entry in WEIGHTS_COLLECTION:
        if entry["dataset"] == "imagenet" and not entry["include_top"]:
            assert imagenet_file(entry["model"], 128) == entry["name"]


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")
@pytest.mark.parametrize(
    ("encoder", "size"),
    [
        ("xception", 32),
        ("vgg16", 32),
        ("densenet121", 32),
        ("mobilenet", 128),
        ("mobilenet", 256),
        ("mobilenetv2", 96),
        ("efficientnetb0", 32),
        ("inceptionv3", 96),
        ("inceptionresnetv2", 96),
    ],
)
def test_names_are_those_that_keras_asks_for(encoder, size):
    assert f"/{imagenet_file(encoder, size)}:" in refused(
        build_model, replace(TINY, encoder=encoder, size=size)
    )


def test_keras_hubs_xception_is_ours(place):
    """The file is of Keras' own Xception; its layout was compared with a file by keras-hub's class."""
    original = keras.applications.Xception(include_top=False, weights=None)
    path = save(original, place / "input" / "xception/keras/xception_41_imagenet/2/model.weights.h5")
    with h5py.File(path) as file:
        found = []
        file.visititems(lambda name, part: found.append((name, part)) if hasattr(part, "shape") else None)
        lines = sorted(f"{name} {part.shape}" for name, part in found)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == HUB_LAYOUT
    ours = encoder_of(build_model(XCEPTION))
    named = {layer.name: layer.get_weights() for layer in ours.layers if layer.name.startswith("block")}
    assert len(named) > 100
    for name, arrays in named.items():
        for mine, theirs in zip(arrays, original.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert_taken(XCEPTION, original)


def test_a_file_by_keras_hub_itself_loads(place):
    hub = pytest.importorskip("keras_hub")  # not needed, and not installed, for anything else
    middle = [[728] * 3] * 8
    filters = [[32, 64], [128, 128], [256, 256], [728, 728], *middle, [728, 1024], [1536, 2048]]
    backbone = hub.models.XceptionBackbone(filters, [False, True, True, True, *[False] * 8, True, False])
    save(backbone, place / "hub" / "model.weights.h5")
    assert_taken(replace(XCEPTION, encoder_weights=str(place / "hub")), backbone)


# What is noted of them


def test_the_note_says_what_was_loaded(donor, place):
    path = save(donor, place / "input" / LAYOUTS["old"] / "model.weights.h5")
    note_weights(place, find_weights(TINY))
    assert read_note(place) == {
        "source": "attached input",
        "file": f"{LAYOUTS['old']}/model.weights.h5",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "arrays": len(donor.weights),
    }
    path = save(donor, place / "mine.h5")
    note_weights(place, find_weights(replace(TINY, encoder_weights=str(path))))
    assert read_note(place)["file"] == "mine.h5"
    assert read_note(place)["arrays"] == len(donor.weights)


@pytest.mark.parametrize("text", [None, "", "[1]", "{"])
def test_a_note_that_is_not_there_or_damaged_is_empty(place, text):
    if text is not None:
        (place / weights.NOTE).write_text(text)
    assert read_note(place) == {}


# Scaling


@pytest.mark.parametrize(
    ("encoder", "module"),
    [
        ("xception", "xception"),
        ("mobilenetv2", "mobilenet_v2"),
        ("vgg16", "vgg16"),
    ],
)
def test_a_picture_reaches_the_encoder_as_keras_own_preprocessing_gives_it(encoder, module):
    picture = np.arange(32 * 32).reshape(1, 32, 32, 1).astype(np.uint8)  # each grey level, four times
    model = build_model(replace(TINY, encoder=encoder, encoder_weights="none"))
    scaled = keras.Model(model.input, model.get_layer("scale").output).predict_on_batch(picture)
    colour = np.repeat(picture, 3, axis=-1).astype(np.float32)
    wanted = getattr(keras.applications, module).preprocess_input(colour)
    np.testing.assert_allclose(scaled, wanted, atol=2e-5 * np.abs(wanted).max())


# What is refused


def test_imagenet_without_internet_names_all_three_ways_out(place):
    said = weights.ways_out(XCEPTION)
    for way in (
        "turn the internet on",
        "attach the Kaggle model keras/xception/keras/xception_41_imagenet/2",
        f"put xception_weights_tf_dim_ordering_tf_kernels_notop.h5 into {place / 'keras' / 'models'}",
        "--encoder-weights none, or the path",
    ):
        assert way in said
    said = weights.ways_out(replace(TINY, encoder="resnet18"))
    assert "attach a dataset with resnet18_imagenet_1000_no_top.h5" in said


@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize("names", [(), ("config.json",), ("a.h5", "b.h5")])
def test_a_folder_without_the_file_is_one_line(place, names, attached):
    folder = place / "input" / LAYOUTS["new"] if attached else place / "mine"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    said = refused(find_weights, TINY if attached else replace(TINY, encoder_weights=str(folder)))
    assert str(folder) in said
    assert f"there: {', '.join(names) or 'nothing'}" in said


class Hostile:
    def __reduce__(self):
        return pytest.fail, ("the pickle was read",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (pickle.dumps(Hostile()), "is a Python pickle"),
        (pickle.dumps(Hostile(), protocol=0), "is not HDF5"),
        (b"PK\x03\x04 and more", "is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"<html>not found</html>", "is not HDF5"),
        (b"\x89HDF\r\n\x1a\n and no more", "is damaged or cut off"),
    ],
)
def test_what_is_not_hdf5_is_refused_before_it_is_read(place, content, told):
    path = place / "a.weights.h5"
    path.write_bytes(content)
    assert f"{path} {told}" in refused(inspect_file, path)


@pytest.mark.parametrize("layout", [".h5", ".weights.h5"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_half_a_file_is_refused(donor, place, layout, share):
    path = save(donor, place / f"a{layout}")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "is damaged or cut off" in refused(inspect_file, path)


def rewrite(path, change):
    """Change each array of a file that Keras wrote; none is left where the change gives None."""
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda name, part: names.append(name) if hasattr(part, "shape") else None)
        for name in names:
            array = change(name, file[name][()])
            del file[name]
            if array is not None:
                file[name] = array


@pytest.mark.parametrize("layout", [".h5", ".weights.h5"])
def test_transposed_arrays_are_refused(donor, place, layout):
    path = save(donor, place / f"a{layout}")
    rewrite(path, lambda name, array: array.T)
    assert "does not fit the encoder mobilenetv2 (" in refused_by_encoder(path)


@pytest.mark.parametrize("layout", [".h5", ".weights.h5"])
def test_arrays_that_are_no_finite_numbers_are_refused(donor, place, layout):
    path = save(donor, place / f"a{layout}")
    rewrite(path, lambda name, array: array * np.float32("nan"))
    assert "no finite numbers" in refused_by_encoder(path)


@pytest.mark.parametrize("layout", [".h5", ".weights.h5"])
def test_the_weights_of_another_encoder_are_refused(donor, place, layout):
    path = save(build_encoder(replace(TINY, encoder="mobilenet"))[0], place / f"a{layout}")
    said = refused_by_encoder(path)
    assert f"it holds 135 arrays; expected the {len(donor.weights)} arrays of mobilenetv2" in said


def test_an_array_too_few_or_too_many_is_refused(donor, place):
    path = save(donor, place / "a.weights.h5")
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/7"] = np.zeros(3)
    said = refused_by_encoder(path)
    assert f"it holds {len(donor.weights) + 1} arrays" in said
    path = save(donor, place / "b.weights.h5")
    rewrite(path, lambda name, array: None if name == "layers/conv2d/vars/0" else array)
    said = refused_by_encoder(path)
    assert f"it holds {len(donor.weights) - 1} arrays" in said


def test_the_state_of_random_layers_and_of_an_optimiser_are_no_arrays_of_an_encoder(place):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 4)), np.zeros((2, 2)), verbose=0)
    model.save_weights(place / "a.weights.h5")
    assert inspect_file(place / "a.weights.h5") == (".weights.h5", 2)


def test_the_note_is_json_of_four_facts(donor, place):
    path = save(donor, place / "mine.weights.h5")
    note_weights(place, find_weights(replace(TINY, encoder_weights=str(path))))
    note = json.loads((place / "encoder_weights.json").read_text())
    assert list(note) == ["source", "file", "sha256", "arrays"]
