"""The folder that is published: its files and no others, no id of an image or patient, made once."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import cv2
import keras
import numpy as np
import pytest
from tests.inference.echo import PLAIN, headed, make_ensemble
from tests.publishing.runs import SCORED, files_of, make_published_run, secrets_of

from pneumothorax.cli import main
from pneumothorax.flags import results
from pneumothorax.hubs.manifest import NAME, check_files, read_manifest
from pneumothorax.inference.decision import Decision, decide, read_decision, write_decision
from pneumothorax.inference.fold_networks import load_folds
from pneumothorax.inference.plan import make_plan
from pneumothorax.inference.predict import see
from pneumothorax.model.unet import build_model, save_weights
from pneumothorax.publishing import about
from pneumothorax.recipe import from_json, to_json
from pneumothorax.training.state import State, save_state

pytestmark = pytest.mark.slow

WORDS = ("--to", "kaggle", "--dry-run", "--no-onnx")
FILES = {"README.md", "decision.json", "fold0/recipe.json", "fold0/environment.json"}
FILES |= {"fold0/best.weights.h5", NAME}


def dry_run(root, *words, run="strong"):
    return main(["publish", run, "--root", str(root), *(words or WORDS)])


def fails(capsys, root, *words, run="strong"):
    assert dry_run(root, *words, run=run) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("pneumothorax: error: ")
    assert not (root / "runs" / run / "published" / "kaggle").exists()
    return error


def test_the_folder_holds_weights_and_texts_and_names_no_image_or_patient(tmp_path, run, capsys):
    recipe = run / "fold0" / "recipe.json"
    own = str(tmp_path / "mine.weights.h5")
    recipe.write_text(to_json(replace(from_json(recipe.read_text()), encoder_weights=own)))
    assert dry_run(tmp_path) == 0
    folder = run / "published" / "kaggle"
    files = files_of(folder)
    assert set(files) == FILES
    manifest = read_manifest(folder / NAME)
    assert set(manifest.files) == FILES - {NAME}
    assert check_files(folder, manifest) == []
    for name, content in files.items():
        for secret in (*secrets_of(run), str(tmp_path).encode()):
            assert secret not in content, f"{secret!r} is in {name}"
    assert from_json(files["fold0/recipe.json"].decode()).encoder_weights == "mine.weights.h5"
    printed = capsys.readouterr().out
    assert all(name in printed for name in FILES - {NAME})
    assert "would be kaggle://OWNER/pneumothorax-strong/keras/resnet18-32; nothing was uploaded" in printed


def test_the_folder_is_a_run_folder_with_the_same_rule_and_smaller_weights(tmp_path, run):
    assert dry_run(tmp_path) == 0
    folder = run / "published" / "kaggle"
    plan = make_plan(folder)
    assert read_decision(folder / "decision.json") == read_decision(run / "decision.json")
    ours, theirs = plan.folds[0].weights, run / "fold0" / "best.weights.h5"
    assert ours.stat().st_size < theirs.stat().st_size
    with h5_arrays(ours) as arrays, h5_arrays(theirs) as all_arrays:
        assert set(arrays) < set(all_arrays)
        assert not any("optimizer" in name for name in arrays)


def h5_arrays(path):
    """Return the names of the arrays of an HDF5 file, as a context."""
    import contextlib

    import h5py

    @contextlib.contextmanager
    def opened():
        with h5py.File(path) as file:
            names = []
            file.visititems(lambda name, part: names.append(name) if isinstance(part, h5py.Dataset) else None)
            yield names

    return opened()


def test_networks_are_written_again_only_where_they_changed(tmp_path, run, monkeypatch):
    assert dry_run(tmp_path) == 0
    weights = run / "published" / "kaggle" / "fold0" / "best.weights.h5"
    before = weights.read_bytes()

    def refuse(*_):
        raise AssertionError("written again")

    monkeypatch.setattr("pneumothorax.publishing.networks.save_network", refuse)
    assert dry_run(tmp_path, *WORDS, "--name", "somebody/other-name") == 0
    assert "kaggle://somebody/other-name/keras" in (run / "published" / "kaggle" / "README.md").read_text()
    assert weights.read_bytes() == before
    write_decision(run / "decision.json", replace(SCORED, score=0.9))
    with pytest.raises(AssertionError, match="written again"):
        dry_run(tmp_path)
    assert weights.read_bytes() == before, "a failure leaves the old folder"


def test_the_card_has_scores_failures_terms_and_limits(tmp_path, run):
    make_published_run(tmp_path, "many", folds=2, number=14)
    assert dry_run(tmp_path, "--to", "huggingface", "--dry-run", "--no-onnx", run="many") == 0
    card = (tmp_path / "runs" / "many" / "published" / "huggingface" / "README.md").read_text()
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    values = dict(line.split(": ", 1) for line in front.splitlines())
    assert json.loads(values["license"]) == "cc-by-nc-4.0"
    metric = json.loads(values["model-index"])[0]["results"][0]["metrics"][0]
    assert metric["value"] == 0.86
    for text in (
        "Research only",
        "they may be used, not passed on",
        "| 95 % interval | 0.8300 to 0.8800 |",
        "| 0.8679 | the 1st place |",
        "| every image left empty |",
        "| view | AP |",
        "| age, years | 20-39 |",
        "| lesion, pixels at 1024x1024 | 30,000+ |",
        "2 of 5 planned folds",
        "hf://OWNER/pneumothorax-many",
        "| Seed | 0 |",
    ):
        assert text in body, text
    assert "onnxruntime" not in body, "no ONNX file, no code for it"


def test_the_card_of_drawn_radiographs_says_so_and_compares_with_nobody(tmp_path, run):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "findings.csv").write_text("ImageId,findings\n")
    assert dry_run(tmp_path) == 0
    card = (run / "published" / "kaggle" / "README.md").read_text()
    assert "drawn by a program" in card
    assert "the 1st place" not in card
    assert dry_run(tmp_path, *WORDS, "--data", "Films of <b>ours</b>, free for research.") == 0
    assert "Films of" in (run / "published" / "kaggle" / "README.md").read_text()


def test_the_command_knows_every_hub_and_licence():
    assert tuple(about.HUBS) == results.HUBS
    assert tuple(about.LICENSES) == results.LICENSES


def test_a_run_that_is_not_ready_is_one_line(tmp_path, run, capsys):
    decision = (run / "decision.json").read_text()
    write_decision(run / "decision.json", Decision())
    assert "run `pneumothorax tune strong`" in fails(capsys, tmp_path)
    (run / "decision.json").unlink()
    assert "has no tuned rule" in fails(capsys, tmp_path)
    write_decision(run / "decision.json", SCORED, {"fold0": "another"})
    assert "the rule of strong is older than fold0" in fails(capsys, tmp_path)
    (run / "decision.json").write_text(decision)
    assert "choose a --name" in fails(capsys, tmp_path, *WORDS, "--name", "My Model!")
    assert "6 to 50 letters" in fails(capsys, tmp_path, *WORDS, "--name", "me/abc")
    save_unfinished(run / "fold0")
    assert "not finished" in fails(capsys, tmp_path)


def save_unfinished(fold):
    from pneumothorax.training.fold_folder import FoldFolder

    save_state(FoldFolder(fold), State(3, [], {}, [], False))


def test_folds_of_different_recipes_and_ensembles_are_refused(tmp_path, echo, capsys):
    run = make_published_run(tmp_path, folds=2)
    make_ensemble(tmp_path, {"strong": 1.0})
    assert "publish each of its members" in fails(capsys, tmp_path, run="both")
    (run / "fold1" / "recipe.json").write_text(to_json(replace(PLAIN, size=64)))
    assert "was trained by another recipe" in fails(capsys, tmp_path)


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxruntime", "tf2onnx")),
    reason="onnx, onnxruntime or tf2onnx is not installed: pip install -e '.[onnx]'",
)
def test_a_genuine_network_is_published_with_its_encoder_and_the_cards_code_runs(tmp_path):
    recipe = replace(
        headed(PLAIN), encoder="efficientnetlite0", decoder_filters=(8,) * 5, precision="float32"
    )
    run = make_published_run(tmp_path, recipe=replace(recipe, classification_head=False, loss="bce"))
    keras.utils.set_random_seed(0)
    model = build_model(replace(recipe, classification_head=False, loss="bce", encoder_weights="none"))
    save_weights(model, run / "fold0" / "best.weights.h5")
    write_decision(
        run / "decision.json", replace(SCORED, rule=replace(SCORED.rule, threshold=0.5, top_threshold=0.51))
    )
    assert dry_run(tmp_path, "--to", "kaggle", "--dry-run") == 0
    folder = run / "published" / "kaggle"
    assert set(files_of(folder)) == FILES | {"model.onnx", "encoder.weights.h5"}
    again = build_model(
        replace(
            recipe, classification_head=False, loss="bce", encoder_weights=str(folder / "encoder.weights.h5")
        )
    )
    name = "stem"
    np.testing.assert_array_equal(find(again, name).get_weights()[0], find(model, name).get_weights()[0])
    image = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    cv2.imwrite(str(folder / "chest.png"), image)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code + "\nnp.save('mask.npy', mask)"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    maps, _ = see(load_folds(make_plan(folder).folds), image[None], flip=False)
    expected = decide(maps[0], read_decision(folder / "decision.json").rule)
    assert (np.load(folder / "mask.npy") != expected).mean() < 0.01  # predict's maps have 255 steps


def find(model, name):
    """Return a layer of the network inside a model."""
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    return next(layer for layer in network.layers if name in layer.name)
