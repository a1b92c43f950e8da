"""The whole road, by the commands that a user would type."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.training.conftest import put_small_network

from pneumothorax.cli import main
from pneumothorax.inference.predictions import read_predictions
from pneumothorax.recipes import RECIPES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _few_epochs():
    """Let the recipe smoke train for few epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "smoke", replace(RECIPES["smoke"], epochs=3))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--root", str(root), "--train", "40", "--test", "9"]) == 0
    return root


@pytest.fixture
def small_network(monkeypatch):
    """Train a few layers, where the files are tested and not the network."""
    put_small_network(monkeypatch)


def test_the_demo_leaves_a_valid_submission_of_every_test_image(root, capsys):
    csv, sample = root / "submissions" / "demo.csv", root / "data" / "raw" / "stage_2_sample_submission.csv"
    assert main(["validate", str(csv), "--root", str(root)]) == 0
    assert pd.read_csv(csv)["ImageId"].tolist() == pd.read_csv(sample)["ImageId"].tolist()
    capsys.readouterr()
    assert main(["score", str(csv), "--truth", str(root / "data" / "truth.csv"), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert (score["images"], score["positives"]) == (9, 2)


def test_the_demo_draws_its_figures(root):
    drawn = {path.name for path in (root / "runs" / "smoke" / "figures").iterdir()}
    assert drawn == {"curves.png", "histogram.png", "cases.png"}


def test_the_same_commands_again_train_nothing_and_give_the_same_submission(root):
    csv, state = root / "submissions" / "demo.csv", root / "runs" / "smoke" / "fold0" / "state.npz"
    before = csv.read_bytes(), state.stat().st_mtime_ns
    assert main(["demo", "--root", str(root), "--train", "40", "--test", "9"]) == 0
    assert (csv.read_bytes(), state.stat().st_mtime_ns) == before


def test_a_folder_of_images_is_predicted_as_the_test_set_is(root):
    images = root / "data" / "raw" / "stage_2_images"
    assert main(["predict", "smoke", "--root", str(root), "--images", str(images)]) == 0
    folders = list((root / "runs" / "smoke" / "predictions").glob("stage_2_images-*"))
    assert len(folders) == 1
    found, test = (
        read_predictions(folders[0]),
        read_predictions(root / "runs" / "smoke" / "predictions" / "test"),
    )
    assert found.studies["ImageId"].tolist() == test.studies["ImageId"].tolist()
    np.testing.assert_array_equal(found.probabilities, test.probabilities)


@pytest.mark.usefixtures("small_network")
def test_folds_are_averaged_by_image(root):
    flags = ["--root", str(root), "--recipe", "smoke", "--run", "pair", "--epochs", "1", "--fold-count", "2"]
    assert main(["train", *flags, "--fold", "0-1"]) == 0
    run = root / "runs" / "pair"
    test = root / "runs" / "pair" / "predictions" / "test"
    assert main(["predict", "pair", "--root", str(root)]) == 0
    mean = read_predictions(test).probabilities.astype(float)
    singles = []
    for hidden in ("fold1", "fold0"):
        (run / hidden).rename(run / "aside")
        assert main(["predict", "pair", "--root", str(root)]) == 0
        singles.append(read_predictions(test).probabilities.astype(float))
        (run / "aside").rename(run / hidden)
    np.testing.assert_allclose(mean, np.mean(singles, axis=0), atol=1.01)
    assert not np.array_equal(*singles)


def test_another_recipe_under_the_same_name_is_refused(root, capsys):
    flags = ["--root", str(root), "--recipe", "smoke", "--run", "smoke", "--learning-rate", "0.5"]
    assert main(["train", *flags]) == 2
    assert "learning_rate 0.001 -> 0.5" in capsys.readouterr().err


SMALL = ("--size=64", "--encoder=resnet18", "--encoder-weights=none", "--decoder-filters=16,16,8,8,8")


@pytest.mark.usefixtures("small_network")
def test_the_strong_recipe_goes_from_all_its_folds_to_a_submission(root, capsys):
    def run(*words):
        assert main([*words, "--root", str(root)]) == 0
        return capsys.readouterr().out

    run("train", "--recipe=strong", *SMALL, "--fold-count=2", "--epochs=2", "--legs=")
    strong = root / "runs" / "strong"
    assert sorted(path.name for path in strong.glob("fold*")) == ["fold0", "fold1"]
    assert "without classification threshold" in run("tune", "strong")
    decision = json.loads((strong / "decision.json").read_text())
    assert "auc" in decision
    assert "classification_threshold" in decision["rule"]
    run("predict", "strong")
    studies = read_predictions(strong / "predictions" / "test").studies
    assert studies["image_probability"].between(0, 1).all()
    csv = root / "submissions" / "strong.csv"
    run("submit", "strong", "--classification-threshold=0.01", "--write-only", f"--out={csv}")
    assert len(pd.read_csv(csv)) == 9


@pytest.mark.usefixtures("small_network")
def test_a_run_goes_on_at_a_larger_size_and_joins_an_ensemble(root, capsys):
    flags = [
        "--root",
        str(root),
        "--recipe=strong",
        *SMALL,
        "--fold-count=2",
        "--epochs=1",
        "--warmup-epochs=0",
    ]
    flags.append("--legs=")
    for words in (["--run=small", "--size=32"], ["--run=large", "--init-from=small"]):
        if words[1] == "--size=32":
            assert main(["prepare", "--root", str(root), "--recipe=strong", "--size=32", "--legs="]) == 0
        assert main(["train", *flags, *words]) == 0
    assert main(["ensemble", "large", "small=0.5", "--root", str(root), "--run=both", "--set=none"]) == 2
    assert "none" in capsys.readouterr().err
    for name in ("large", "small"):
        assert main(["predict", name, "--root", str(root)]) == 0
    assert main(["ensemble", "large", "small=0.5", "--root", str(root), "--run=both"]) == 0
    assert main(["tune", "both", "--root", str(root)]) == 0
    assert main(["submit", "both", "--root", str(root), "--write-only"]) == 0
    assert main(["train", *flags, "--run=both"]) == 2
    assert "is an ensemble" in capsys.readouterr().err
