"""The attached inputs of a session become a workspace, weights in Keras' cache, and runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from pneumothorax.data.studies import find_studies
from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks import inputs
from pneumothorax.recipes import RECIPES
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.run import claim
from pneumothorax.training.state import State, save_state

COMPETITION, DATASET = "siim-acr", "someone/training-images"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folders of a session, `input` and `working` below the one returned."""
    for name in ("input", "working", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(tmp_path / "input"))
    monkeypatch.setenv("KAGGLE_WORKING_DIR", str(tmp_path / "working"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def make_fold(folder, epochs, *, finished=True, recipe="smoke"):
    """Make the folder of a fold as training leaves it, without its arrays."""
    fold = FoldFolder(folder)
    claim(fold, RECIPES[recipe], {"data": "same"})
    history = [{"epoch": number, "loss": 1 / (number + 1)} for number in range(epochs)]
    save_state(fold, State(epochs, [], {}, history, finished))
    fold.weights.write_bytes(b"weights")
    return folder


# Weights


@pytest.fixture
def cache(place, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(place / "keras"))
    return place / "keras" / "models"


def test_mounted_weights_lie_where_keras_looks(place, cache):
    folder = place / "input" / "datasets" / "me" / "weights" / "imagenet"
    folder.mkdir(parents=True)
    names = ("resnet18_imagenet_1000_no_top.h5", "xception_weights_tf_dim_ordering_tf_kernels_notop.h5")
    for name in (*names, "resnet18_imagenet_1000.h5", "best.weights.h5", "x_notop.txt"):
        (folder / name).write_text(name)
    assert inputs.offer_weights() == list(names)
    assert sorted(path.name for path in cache.iterdir()) == list(names)
    assert all((cache / name).read_text() == name for name in names)
    assert inputs.offer_weights() == list(names)


def test_weights_in_the_cache_stay_and_links_to_nowhere_are_mended(place, cache):
    mounted = place / "input" / "weights"
    mounted.mkdir()
    cache.mkdir(parents=True)
    for name in ("own_notop.h5", "gone_notop.h5"):
        (mounted / name).write_text("mounted")
    (cache / "own_notop.h5").write_text("own")
    (cache / "gone_notop.h5").symlink_to(place / "gone")
    inputs.offer_weights()
    assert (cache / "own_notop.h5").read_text() == "own"
    assert (cache / "gone_notop.h5").read_text() == "mounted"


@pytest.mark.parametrize("layout", ["models/keras/", ""])
def test_a_mounted_model_of_xception_is_offered_where_it_is(place, cache, layout):
    name = f"{layout}xception/keras/xception_41_imagenet/2"
    (place / "input" / name).mkdir(parents=True)
    (place / "input" / name / "model.weights.h5").write_text("weights")
    assert inputs.offer_weights() == [name]
    assert not cache.exists()


def test_weights_that_keras_knows_nothing_of_are_offered_where_they_are(place, cache):
    folder = place / "input" / "datasets" / "me" / "pneumothorax-deps"
    folder.mkdir(parents=True)
    names = ("efficientnet-lite0-57934424.pth", "xception.weights.h5")
    for name in (*names, "best.weights.h5", "other.pth"):
        (folder / name).touch()
    assert inputs.offer_weights() == list(names)
    assert not cache.exists()


def test_without_weights_nothing_is_made(cache):
    assert inputs.offer_weights() == []
    assert not cache.exists()


@pytest.mark.slow
def test_keras_takes_the_linked_file_and_downloads_nothing(place, cache):
    name = "resnet18_imagenet_1000_no_top.h5"
    (place / "input" / "weights").mkdir()
    (place / "input" / "weights" / name).write_bytes(b"weights")
    inputs.offer_weights()
    line = (
        f"import keras; print(keras.utils.get_file({name!r}, 'http://127.0.0.1:9/x', cache_subdir='models'))"
    )
    ended = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert Path(ended.stdout.strip()).read_bytes() == b"weights"


# Workspace


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["new", "old"])
def test_inputs_become_raw_data_and_runs_are_kept(place, competition, layout):
    raw, root = competition / "raw", place / "input"
    first = root / ("competitions/siim-acr" if layout == "new" else "siim-acr")
    second = root / ("datasets/someone/training-images" if layout == "new" else "training-images")
    for folder, names in (
        (first, ("stage_2_images", "stage_2_sample_submission.csv")),
        (second, ("dicom-images-train", "train-rle.csv")),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).symlink_to(raw / name)
    workspace = inputs.make_workspace(COMPETITION, [DATASET], keep_runs=True)
    assert workspace.root.parent == place / "tmp"
    assert find_studies(workspace.raw).counts == find_studies(raw).counts
    (workspace.runs / "seed").mkdir()
    assert (place / "working" / "runs" / "seed").is_dir()
    assert sorted(path.name for path in (place / "working").iterdir()) == ["runs"]


def test_runs_that_are_not_kept_stay_out_of_the_output(place):
    (place / "input" / "siim-acr").mkdir()
    workspace = inputs.make_workspace(COMPETITION)
    (workspace.runs / "seed").mkdir()
    assert not (place / "working").exists() or list((place / "working").iterdir()) == []


def test_two_inputs_of_one_name_are_both_raw_data(place):
    (place / "input" / "competitions" / "same").mkdir(parents=True)
    (place / "input" / "datasets" / "a" / "same").mkdir(parents=True)
    workspace = inputs.make_workspace("same", ["a/same"])
    assert {path.resolve() for path in workspace.raw.iterdir()} == {
        place / "input" / "competitions" / "same",
        place / "input" / "datasets" / "a" / "same",
    }


def test_a_missing_dataset_is_told_with_what_is_mounted_and_leaves_nothing(place):
    (place / "input" / "siim-acr").mkdir()
    with pytest.raises(UserError, match=r"someone/training-images is not mounted .*\(mounted: siim-acr\)"):
        inputs.make_workspace(COMPETITION, [DATASET])
    assert list((place / "tmp").iterdir()) == []
    assert list((place / "working").iterdir()) == []


# Runs


@pytest.fixture
def workspace(place):
    (place / "input" / "siim-acr").mkdir()
    return inputs.make_workspace(COMPETITION, keep_runs=True)


def test_folds_of_several_notebooks_come_together(place, workspace):
    for number in (0, 1):
        make_fold(place / f"input/notebooks/me/train-fold{number}/runs/seed/fold{number}", 3)
    folds = inputs.gather_runs(["me/train-fold0", "me/train-fold1"], workspace)
    assert folds == [workspace.runs / "seed" / "fold0", workspace.runs / "seed" / "fold1"]
    assert (place / "working/runs/seed/fold1/best.weights.h5").read_bytes() == b"weights"


@pytest.mark.parametrize("mount", ["notebooks/me/train", "train", "datasets/me/old-runs"])
def test_without_names_every_input_with_runs_counts(place, workspace, mount):
    make_fold(place / "input" / mount / "runs" / "seed" / "fold0", 3)
    assert inputs.gather_runs([], workspace) == [workspace.runs / "seed" / "fold0"]


def test_without_names_and_inputs_there_is_nothing_to_gather(workspace):
    assert inputs.gather_runs([], workspace) == []


def test_a_named_notebook_must_be_mounted_and_hold_runs(place, workspace):
    (place / "input" / "notebooks" / "me" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no runs/<run>/fold<k> in .*me/empty"):
        inputs.gather_runs(["me/empty"], workspace)
    with pytest.raises(UserError, match=r"notebook me/other is not mounted .*notebooks/me/empty"):
        inputs.gather_runs(["me/other"], workspace)


def test_a_run_is_found_by_name_or_because_it_is_the_only_one(workspace):
    with pytest.raises(UserError, match=r"0 runs \(there: none\).*attach the output of a train notebook"):
        inputs.find_run("", workspace)
    (workspace.runs / "seed").mkdir()
    assert inputs.find_run("", workspace) == inputs.find_run("seed", workspace) == workspace.runs / "seed"
    (workspace.runs / "strong").mkdir()
    assert inputs.find_run("strong", workspace) == workspace.runs / "strong"
    with pytest.raises(UserError, match=r"2 runs \(there: seed, strong\)"):
        inputs.find_run("", workspace)
    with pytest.raises(UserError, match=r"run other \(there: seed, strong\)"):
        inputs.find_run("other", workspace)


def test_unfinished_folds_are_named_with_their_epochs(tmp_path):
    make_fold(tmp_path / "seed" / "fold0", 3)
    make_fold(tmp_path / "seed" / "fold2", 2, finished=False)
    (tmp_path / "seed" / "fold1").mkdir()
    assert inputs.list_unfinished(tmp_path / "seed") == ["fold1 (0 epochs)", "fold2 (2 epochs)"]
    assert inputs.list_unfinished(tmp_path / "none") == []
