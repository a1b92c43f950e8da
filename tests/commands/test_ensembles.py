"""Ensembles, by the commands that a user would type."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pneumothorax.cli import main
from pneumothorax.data import rle
from pneumothorax.inference.predictions import read_predictions, write_predictions
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.training.provenance import digest_folds, write_note
from pneumothorax.training.run import find_folds

pytestmark = pytest.mark.slow

NUMBER, SIDE = 6, 32


def make_studies(images, image_probability=None):
    """Return studies of which every other one has a pneumothorax, with an image on disk each."""
    mask = np.zeros((1024, 1024), np.uint8)
    mask[256:512, 256:512] = 1
    rows = []
    for row in range(NUMBER):
        path = images / f"i{row}.png"
        cv2.imwrite(str(path), np.full((1024, 1024), 90, np.uint8))
        code, area = (rle.encode(mask), 65536) if row % 2 else (rle.EMPTY, 0)
        rows.append({"ImageId": path.stem, "path": str(path), "EncodedPixels": code, "area": area})
    studies = pd.DataFrame(rows).assign(height=1024, width=1024)
    return studies if image_probability is None else studies.assign(image_probability=image_probability)


def make_run(root, name, *, size=SIDE, folds=2, seed=0, image_probability=None, test=True):
    """Make a run folder by hand, its images spread over its folds."""
    generator = np.random.default_rng([seed, size])
    (root / "images").mkdir(exist_ok=True)
    studies, run = make_studies(root / "images", image_probability), root / "runs" / name
    maps = generator.integers(0, 100, (NUMBER, size, size), dtype=np.uint8)
    maps[1::2, size // 4 : size // 2, size // 4 : size // 2] = 220
    for fold in range(folds):
        folder = run / f"fold{fold}"
        folder.mkdir(parents=True)
        (folder / "best.weights.h5").touch()
        (folder / "recipe.json").write_text(to_json(RECIPES["smoke"]))
        write_predictions(folder / "out_of_fold", [maps[fold::folds]], studies[fold::folds], size)
    if test:
        write_predictions(run / "predictions" / "test", [255 - maps], studies, size)
    return run


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    rows = "".join(f"i{row},-1\n" for row in range(NUMBER))
    (tmp_path / "data/raw/stage_2_sample_submission.csv").write_text("ImageId,EncodedPixels\n" + rows)
    make_run(tmp_path, "one")
    make_run(tmp_path, "two", size=2 * SIDE, folds=3, seed=1)
    return tmp_path


def call(root, *words):
    try:
        return main([*map(str, words), "--root", str(root)])
    except SystemExit as error:
        return error.code


def refused(capsys, root, *words):
    """Check that a command is a mistake in one line that writes nothing, and return the line."""
    before = sorted(root.rglob("*"))
    assert call(root, *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sorted(root.rglob("*")) == before
    return next(line for line in err.splitlines() if "error:" in line)


def test_an_ensemble_is_tuned_submitted_and_drawn_as_a_run_is(capsys, root):
    assert call(root, "ensemble", "one", "two=0.5", "--run", "both") == 0
    assert "1 x one, 0.5 x two; images: 6 out of fold, 6 of test" in capsys.readouterr().out
    both = root / "runs" / "both"
    members = json.loads((both / "ensemble.json").read_text())["members"]
    assert [(one["run"], one["weight"]) for one in members] == [("one", 1.0), ("two", 0.5)]
    found = read_predictions(both / "predictions" / "test")
    small, large = (read_predictions(root / "runs" / run / "predictions/test") for run in ("one", "two"))
    for row in range(NUMBER):
        grown = cv2.resize(small.probabilities[row].astype(np.float32), (64, 64))
        np.testing.assert_allclose(
            found.probabilities[row], (grown + large.probabilities[row] / 2) / 1.5, atol=0.501
        )
    assert call(root, "tune", "both") == 0
    assert json.loads((both / "decision.json").read_text())["images"] == NUMBER
    assert call(root, "submit", "both", "--write-only", "--out", root / "both.csv") == 0
    captured = capsys.readouterr()
    assert captured.err.count("warning") == 0
    record = json.loads((root / "both.json").read_text())
    assert record["recipe"] == "mean of 1 x one: smoke, 0.5 x two: smoke"
    assert call(root, "validate", root / "both.csv") == 0
    assert call(root, "figures", "both") == 0
    assert {path.name for path in (both / "figures").iterdir()} == {"histogram.png", "cases.png"}


def test_the_same_command_again_replaces_the_ensemble_and_forgets_its_decision(root):
    command = ("ensemble", "one", "two", "--run", "both")
    assert call(root, *command) == 0
    both = root / "runs" / "both"
    first = read_predictions(both / "out_of_fold").probabilities.copy()
    assert call(root, "tune", "both") == 0
    assert call(root, "ensemble", "one", "two=9", "--run", "both") == 0
    assert not (both / "decision.json").exists()
    assert (read_predictions(both / "out_of_fold").probabilities != first).any()
    assert {path.name for path in (root / "runs").iterdir()} == {"one", "two", "both"}


def test_an_ensemble_can_be_a_member(root):
    make_run(root, "three", seed=3)
    assert call(root, "ensemble", "one", "two", "--run", "both") == 0
    assert call(root, "ensemble", "both=2", "three", "--run", "all") == 0
    parts = [read_predictions(root / "runs" / name / "out_of_fold").probabilities for name in ("both", "all")]
    assert parts[1].shape == parts[0].shape == (NUMBER, 64, 64)


def test_a_classification_threshold_is_tuned_on_the_mean_image_probability(capsys, root):
    image_probability = [0.2, 0.8] * (NUMBER // 2)
    for name, seed in (("a", 5), ("b", 6)):
        make_run(root, name, seed=seed, image_probability=image_probability)
    assert call(root, "ensemble", "a", "b", "one", "--run", "mixed") == 0
    assert "one has no classification head" in capsys.readouterr().err
    assert read_predictions(root / "runs/mixed/out_of_fold").image_probability is None
    assert call(root, "ensemble", "a", "b", "--run", "ab") == 0
    assert sorted(read_predictions(root / "runs/ab/out_of_fold").image_probability) == sorted(
        image_probability
    )
    assert call(root, "tune", "ab") == 0
    out = capsys.readouterr().out
    assert "without classification threshold" in out
    assert "ROC AUC 1.0000, sensitivity 1.0000, specificity 1.0000" in out


def test_sets_are_chosen_and_a_lacking_test_set_is_left_out(capsys, root):
    make_run(root, "bare", seed=4, test=False)
    assert call(root, "ensemble", "one", "bare", "--run", "both") == 0
    assert "bare has not predicted the test set" in capsys.readouterr().err
    assert not (root / "runs" / "both" / "predictions").exists()
    line = refused(capsys, root, "submit", "both", "--write-only", "--threshold=.5", "--min-area=0")
    assert "run `pneumothorax ensemble`" in line
    line = refused(capsys, root, "ensemble", "one", "bare", "--run", "new", "--set", "test")
    assert "no probabilities in" in line
    assert "run `pneumothorax predict`" in line
    for run in ("one", "bare"):
        part = read_predictions(root / "runs/one/predictions/test")
        write_predictions(root / f"runs/{run}/predictions/other", [part.probabilities], part.studies, SIDE)
    assert call(root, "ensemble", "one", "bare", "--run", "both", "--set", "other") == 0
    assert [path.name for path in (root / "runs/both/predictions").iterdir()] == ["other"]


def test_members_that_do_not_agree_are_refused(capsys, root):
    make_run(root, "less", folds=3)
    (root / "runs/less/fold1/best.weights.h5").unlink()
    line = refused(capsys, root, "ensemble", "one", "less", "--run", "both")
    assert "run less lacks 2 of 6 images in out_of_fold, such as i" in line
    assert line.endswith("train its other folds")
    run = make_run(root, "odd")
    table = run / "predictions/test/studies.csv"
    table.write_text(table.read_text().replace(",-1,0,", ",5 9,9,", 1))
    line = refused(capsys, root, "ensemble", "one", "odd", "--run", "both")
    assert "runs one and odd know other masks of 1 image in test, such as i0" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one none", "both"], "no run"),
        (["one two", "one"], "run one as a member of itself"),
        (["one two", "three"], "three holds trained folds; expected a new name"),
        (["one two", "notes"], "notes is no ensemble"),
        (["one", "both"], "expected two runs or more"),
        (["one one=2", "both"], "a mean of one, one; expected two runs or more, each once"),
        (["one two=0", "both"], "a weight above 0"),
        (["one two=-1", "both"], "a weight above 0"),
        (["one two=nan", "both"], "a weight above 0"),
        (["one two=", "both"], "a weight above 0"),
        (["one ../two", "both"], "a name without a path"),
        (["one two", "../both"], "a name without a path"),
    ],
)
def test_a_mistake_writes_nothing(capsys, root, words, message):
    make_run(root, "three")
    (root / "runs/notes").mkdir()
    (root / "runs/notes/text").touch()
    assert message in refused(capsys, root, "ensemble", *words[0].split(), "--run", words[1])


def test_what_needs_a_network_names_the_members(capsys, root):
    assert call(root, "ensemble", "one", "two", "--run", "both") == 0
    capsys.readouterr()
    assert "both is an ensemble of one, two" in refused(capsys, root, "predict", "both")


def test_a_folder_that_is_both_ensemble_and_trained_run_is_refused(capsys, root):
    assert call(root, "ensemble", "one", "two", "--run", "both") == 0
    (root / "runs/one/fold0").rename(root / "runs/both/fold0")
    capsys.readouterr()
    for command in ("tune", "figures"):
        assert "an ensemble and trained folds" in refused(capsys, root, command, "both")
    assert "holds trained folds" in refused(capsys, root, "ensemble", "one", "two", "--run", "both")


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[]", '{"members": []}', '{"members": [{"name": "x"}]}'),
        '{"members": [{"run": 1, "weight": 1, "recipe": ""}]}',
        '{"members": [{"run": "one", "weight": "1", "recipe": ""}]}',
        '{"members": [{"run": "one", "weight": NaN, "recipe": ""}]}',
    ],
)
def test_a_damaged_ensemble_names_its_file_and_can_be_made_again(capsys, root, content):
    command = ("ensemble", "one", "two", "--run", "both")
    assert call(root, *command) == 0
    path = root / "runs/both/ensemble.json"
    path.write_text(content)
    capsys.readouterr()
    assert f"{path} is no ensemble" in refused(capsys, root, "tune", "both")
    assert call(root, *command) == 0
    assert call(root, "tune", "both") == 0


@pytest.mark.parametrize(
    "table", ["fold1/out_of_fold/studies.csv", "predictions/test/studies.csv"], ids=["trained", "predicted"]
)
def test_an_ensemble_older_than_its_members_is_warned_of(capsys, root, table):
    assert call(root, "ensemble", "one", "two", "--run", "both") == 0
    assert call(root, "tune", "both") == 0
    os.utime(root / "runs/two" / table, ns=(2**62, 2**62))
    capsys.readouterr()
    assert call(root, "submit", "both", "--write-only", "--out", root / "both.csv") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "is older than the predictions of two; run `pneumothorax ensemble` again" in warnings[0]


def test_a_copied_ensemble_is_warned_of_where_a_member_predicts_otherwise(capsys, root):
    tables = sorted(root.glob("runs/*/fold*/out_of_fold")) + sorted(root.glob("runs/*/predictions/test"))
    for folder in tables:
        write_note(folder, {"fold0": f"digest {folder}"})
    assert call(root, "ensemble", "one", "two", "--run", "both") == 0
    assert call(root, "tune", "both") == 0
    for path in root.glob("runs/*/**/studies.csv"):
        os.utime(path, ns=(2**62, 2**62))

    def warnings():
        (root / "both.csv").unlink(missing_ok=True)
        capsys.readouterr()
        assert call(root, "submit", "both", "--write-only", "--out", root / "both.csv") == 0
        return [line for line in capsys.readouterr().err.splitlines() if "warning" in line]

    assert warnings() == []
    write_note(root / "runs/two/fold1/out_of_fold", {"fold1": "other weights"})
    (warning,) = warnings()
    assert "is older than the predictions of two; run `pneumothorax ensemble` again" in warning
    assert call(root, "ensemble", "one", "two", "--run", "both") == 0
    assert call(root, "tune", "both") == 0
    assert warnings() == []


def test_a_copied_run_is_warned_of_where_its_weights_are_others(capsys, root):
    run = root / "runs/two"
    folds = find_folds(run)
    assert call(root, "tune", "two") == 0
    write_note(run / "predictions/test", digest_folds(fold.weights for fold in folds))
    for fold in folds:
        os.utime(fold.weights, ns=(2**62, 2**62))

    def warned():
        (root / "two.csv").unlink(missing_ok=True)
        capsys.readouterr()
        assert call(root, "submit", "two", "--write-only", "--out", root / "two.csv") == 0
        return [line for line in capsys.readouterr().err.splitlines() if "is older than" in line]

    assert warned() == []
    folds[1].weights.write_bytes(b"trained again")
    os.utime(folds[1].weights, ns=(1, 1))
    ends = [f"older than fold1; run `pneumothorax {command} two` again" for command in ("predict", "tune")]
    assert [line.rpartition(" is ")[2] for line in warned()] == ends


def test_a_killed_command_leaves_the_old_ensemble(root, monkeypatch):
    command = ("ensemble", "one", "two", "--run", "both")
    assert call(root, *command) == 0
    both = root / "runs" / "both"
    before = {path: path.stat().st_mtime_ns for path in both.rglob("*")}

    def interrupt(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("pneumothorax.inference.ensemble.write_text", interrupt)
    assert call(root, *command) == 130
    assert {path: path.stat().st_mtime_ns for path in both.rglob("*")} == before
    assert {path.name for path in Path(root, "runs").iterdir()} == {"one", "two", "both"}
