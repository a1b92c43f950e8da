"""Exported files: opened by their own libraries, they compute the run's probabilities and carry its rule."""

import contextlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec

import cv2
import keras
import numpy as np
import pytest
from tests.inference.echo import PLAIN, build_echo, headed, make_ensemble, make_run

from pneumothorax.cli import main
from pneumothorax.data.cache import shrink
from pneumothorax.exporting import export, formats
from pneumothorax.flags.results import FORMATS
from pneumothorax.inference.decision import Decision, Rule, write_decision
from pneumothorax.inference.fold_networks import load_folds
from pneumothorax.inference.model_file import read_model_file
from pneumothorax.inference.plan import make_plan
from pneumothorax.inference.predict import see
from pneumothorax.inference.predictions import STEPS
from pneumothorax.model.unet import build_model, save_weights
from pneumothorax.recipe import to_json

RECIPE = replace(headed(PLAIN), flip_tta=True, precision="float32")
RULE = Rule(threshold=0.4, top_threshold=0.7, min_area=900, classification_threshold=0.2)
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxruntime", "tf2onnx")),
    reason="onnx, onnxruntime or tf2onnx is not installed: pip install -e '.[onnx]'",
)
OUT = {"onnx": "run.onnx", "saved_model": "saved", "keras": "run.keras"}


def build_portable(recipe, precision="float32", *, trained=False, portable=False):
    """Build the network of `echo` with the layer of the genuine one that scales."""
    network = build_echo(recipe, precision, trained=trained)
    images = keras.Input((recipe.size, recipe.size, 1), dtype="uint8")
    scaled = keras.layers.Normalization(mean=[0.0], variance=[1.0], name="scale")(images)
    gain = network.get_layer("gain")
    probability = gain(keras.layers.Rescaling(1 / 255)(scaled))
    if not recipe.classification_head:
        return keras.Model(images, probability)
    level = keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D()(probability))
    return keras.Model(images, {"probability": probability, "classification": level})


@pytest.fixture
def echo(monkeypatch):
    """Let runs of `make_run` be exported."""
    monkeypatch.setattr("pneumothorax.exporting.graph.build_model", build_portable)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Return a workspace with a run of two folds of a small genuine network, and its rule."""
    root = tmp_path_factory.mktemp("genuine")
    for number in range(2):
        keras.utils.set_random_seed(number)
        recipe = replace(RECIPE, encoder="mobilenet", decoder_filters=(8, 8, 8, 8, 8))
        fold = root / "runs" / "two" / f"fold{number}"
        fold.mkdir(parents=True)
        save_weights(build_model(recipe, trained=True), fold / "best.weights.h5")
        (fold / "recipe.json").write_text(to_json(recipe))
    write_decision(root / "runs" / "two" / "decision.json", Decision(RULE, score=0.86, low=0.83, high=0.88))
    return root


def run_export(root, out, *words, run="two"):
    return main(["export", run, "--root", str(root), "--out", str(out), *words])


@pytest.fixture(scope="module")
def exported(genuine, tmp_path_factory):
    """Export that run in a format, once; returns the file and what the command printed."""
    done = {}

    def find(name):
        if name not in done:
            out = tmp_path_factory.mktemp("exported") / OUT[name]
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                assert run_export(genuine, out, "--format", name) == 0
            done[name] = out, printed.getvalue()
        return done[name]

    return find


def make_images(*shapes):
    """Draw smooth radiographs of some shapes, where a grey level more or less changes little."""
    generator = np.random.default_rng(1)
    noise = (generator.integers(0, 256, (5, 5), dtype=np.uint8) for _ in shapes)
    return [
        cv2.resize(one, shape[::-1], interpolation=cv2.INTER_CUBIC)
        for one, shape in zip(noise, shapes, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("onnx", marks=needs_onnx), "saved_model", "keras"])
def test_a_file_computes_the_mean_of_folds_and_mirror_images(genuine, exported, name):
    out, printed = exported(name)
    assert "fold0, fold1 and the mirror images; differs from Keras by" in printed
    plan, run = make_plan(genuine / "runs" / "two"), formats.FORMATS[name].open(out)
    shapes = [(32, 32), (32, 32)] if name == "keras" else [(32, 32), (64, 64), (128, 96)]
    networks = load_folds(plan.folds)
    for image in make_images(*shapes):
        outputs = run(image[None, ..., None])
        maps, levels = see(networks, shrink(image, *plan.look)[None], flip=True)
        assert outputs["probability"].shape == (1, 32, 32, 1)
        assert outputs["image_probability"].shape == (1,)
        # The run's own are stored in steps of 1/255.
        np.testing.assert_allclose(outputs["probability"][..., 0], maps / STEPS, atol=0.51 / STEPS)
        np.testing.assert_allclose(outputs["image_probability"], levels, atol=1e-4)


@pytest.mark.slow
@needs_onnx
def test_an_onnx_file_carries_rule_recipe_and_card_and_needs_no_keras(exported):
    out, _ = exported("onnx")
    code = (
        "import sys, json, numpy, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(out)!r})\n"
        "shapes = [value.shape for value in (*session.get_inputs(), *session.get_outputs())]\n"
        "found = session.run(['probability'], {'images': numpy.zeros((3, 50, 40, 1), numpy.uint8)})[0]\n"
        "assert not set(sys.modules) & {'keras', 'tensorflow'}\n"
        "print(json.dumps([shapes, found.shape, session.get_modelmeta().custom_metadata_map]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shapes, found, metadata = json.loads(done.stdout)
    assert shapes[0] == ["batch", "height", "width", 1]
    assert found == [3, 32, 32, 1]
    assert Rule(**json.loads(metadata["rule"])) == RULE
    assert json.loads(metadata["recipe"])["encoder"] == "mobilenet"
    assert {"keras", "tensorflow", "onnx"} <= set(json.loads(metadata["versions"]))
    assert "no diagnosis" in metadata["card"]
    file = read_model_file(out)  # as `segment --model` reads it, its digest included
    assert (file.run, file.look, file.classification_head) == ("two", (32, "area"), True)
    assert file.decision.rule == RULE


@pytest.mark.usefixtures("echo")
def test_a_keras_file_opens_without_this_package_and_carries_the_same(tmp_path):
    run = make_run(tmp_path, "two", (1.0, 0.5), replace(PLAIN, flip_tta=True))
    out = tmp_path / "two.keras"
    assert run_export(tmp_path, out, "--format", "keras") == 0
    with zipfile.ZipFile(out) as archive:
        metadata = json.loads(archive.read(formats.METADATA))
        assert "no classification head" in archive.read(formats.README).decode()
    assert metadata["run"] == run.name
    assert list(metadata["folds"]) == ["fold0", "fold1"]
    outputs = keras.saving.load_model(out)(np.full((1, 32, 32, 1), 255, np.uint8))
    assert list(outputs) == ["probability"]
    np.testing.assert_allclose(outputs["probability"], 0.75, atol=1e-6)


@pytest.mark.usefixtures("echo")
def test_one_fold_is_exported_alone(tmp_path, capsys):
    make_run(tmp_path, "two", (1.0, 0.5), PLAIN)
    assert run_export(tmp_path, tmp_path / "a.keras", "--format", "keras", "--fold", "1") == 0
    outputs = keras.saving.load_model(tmp_path / "a.keras")(np.full((1, 32, 32, 1), 255, np.uint8))
    np.testing.assert_allclose(outputs["probability"], 0.5, atol=1e-6)
    assert run_export(tmp_path, tmp_path / "b.keras", "--format", "keras", "--fold", "2") == 2
    assert "no trained fold2" in capsys.readouterr().err


@pytest.mark.usefixtures("echo")
def test_a_file_that_differs_from_keras_is_not_kept(tmp_path, capsys, monkeypatch):
    make_run(tmp_path, "two")
    monkeypatch.setattr(export, "TOLERANCE", -1)
    assert run_export(tmp_path, tmp_path / "a.keras", "--format", "keras") == 2
    assert "differs from Keras by" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--format", "onnx", "--out", "a.keras"], "expected a name that ends in .onnx"),
        (["--format", "keras", "--out", "a"], "expected a name that ends in .keras"),
        (["--format", "saved_model", "--out", "a.onnx"], "expected a folder's name, without .onnx"),
        (["--format", "keras", "--out", "there.keras"], "there.keras exists"),
        (["--format", "onnx", "--out", "a.onnx"], "needs onnxruntime, which is not installed; pip install"),
    ],
)
def test_what_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, "two")
    (tmp_path / "there.keras").touch()
    monkeypatch.setattr(
        formats, "find_spec", lambda name: None if name == "onnxruntime" else find_spec("json")
    )
    assert main(["export", "two", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("pneumothorax: error: ")
    assert expected in error
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "there.keras"}


def test_folds_of_different_recipes_and_ensembles_are_refused(tmp_path, capsys):
    run = make_run(tmp_path, "two", (1.0, 0.5))
    make_ensemble(tmp_path, {"two": 1.0})
    assert run_export(tmp_path, tmp_path / "a.onnx", run="both") == 2
    assert "is an ensemble of other runs" in capsys.readouterr().err
    (run / "fold1" / "recipe.json").write_text(to_json(replace(PLAIN, size=64)))
    assert run_export(tmp_path, tmp_path / "a.onnx") == 2
    assert "was trained by another recipe" in capsys.readouterr().err


def test_weights_beyond_2_gb_name_the_way_out():
    with pytest.raises(formats.UserError, match=r"2\.1 GB .* --fold"):
        formats.check_length("onnx", 2_140_000_000)
    formats.check_length("saved_model", 2_140_000_000)


def test_the_command_knows_every_format():
    assert tuple(formats.FORMATS) == FORMATS
