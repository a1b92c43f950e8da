import itertools

import numpy as np
import pytest

from pneumothorax.errors import UserError
from pneumothorax.recipes import RECIPES, find_recipe
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.import_runs import gather_folds
from pneumothorax.training.run import claim
from pneumothorax.training.state import State, load_state, save_state

CLOCK = itertools.count(1.0)  # no two epochs take the same time


def make_fold(folder, number=0, epochs=2, recipe=None, seed=0):
    fold = FoldFolder(folder / "runs" / "smoke" / f"fold{number}")
    claim(fold, recipe or RECIPES["smoke"], {"data": "d"})
    rows = [{"epoch": e + 1.0, "loss": seed + 1 / (e + 1), "seconds": next(CLOCK)} for e in range(epochs)]
    save_state(fold, State(epochs, [np.arange(3.0)], {}, rows, False))
    fold.weights.write_bytes(f"weights of {epochs}".encode())
    return fold


@pytest.mark.parametrize("layout", ["", "notebooks/me/pneumothorax-train", "pneumothorax-train"])
def test_a_fold_is_found_in_any_depth_and_copied_whole(tmp_path, layout):
    fold = make_fold(tmp_path / "output" / layout)
    gathered = gather_folds(tmp_path / "output", tmp_path / "runs")
    assert gathered == [tmp_path / "runs" / "smoke" / "fold0"]
    assert {p.name: p.read_bytes() for p in fold.path.iterdir()} == {
        p.name: p.read_bytes() for p in gathered[0].iterdir()
    }


def test_the_folds_of_several_notebooks_become_one_run(tmp_path):
    for number in range(3):
        make_fold(tmp_path / "output" / f"train-fold{number}", number)
    gathered = gather_folds(tmp_path / "output", tmp_path / "runs")
    assert [path.name for path in gathered] == ["fold0", "fold1", "fold2"]


def test_a_fold_that_continues_ours_replaces_it(tmp_path):
    ours = make_fold(tmp_path, epochs=2)
    make_fold(tmp_path / "output", epochs=5)
    gather_folds(tmp_path / "output", tmp_path / "runs")
    assert load_state(ours).epoch == 5
    assert ours.weights.read_text() == "weights of 5"
    assert [path.name for path in ours.path.parent.iterdir()] == ["fold0"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_fold_that_ours_continues_or_equals_changes_nothing(tmp_path, epochs):
    ours = make_fold(tmp_path, epochs=2)
    ours.scores.write_text("ours")
    make_fold(tmp_path / "output", epochs=epochs)
    gather_folds(tmp_path / "output", tmp_path / "runs")
    assert load_state(ours).epoch == 2
    assert ours.scores.read_text() == "ours"


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_another_training_of_the_same_name_is_refused_and_ours_kept(tmp_path, epochs):
    ours = make_fold(tmp_path, epochs=2)
    make_fold(tmp_path / "output", epochs=epochs, seed=7)
    with pytest.raises(UserError, match="holds another training"):
        gather_folds(tmp_path / "output", tmp_path / "runs")
    assert load_state(ours).epoch == 2


def test_a_fold_of_another_recipe_is_refused(tmp_path):
    make_fold(tmp_path, 0)
    make_fold(tmp_path / "output", 1, recipe=find_recipe("smoke", epochs=7))
    with pytest.raises(UserError, match="epochs 18 -> 7"):
        gather_folds(tmp_path / "output", tmp_path / "runs")
    assert not (tmp_path / "runs" / "smoke" / "fold1").exists()


def test_a_half_copied_fold_is_copied_again(tmp_path):
    make_fold(tmp_path / "output")
    half = tmp_path / "runs" / "smoke" / ".fold0.partial"
    half.mkdir(parents=True)
    (half / "rubbish").write_text("")
    (gathered,) = gather_folds(tmp_path / "output", tmp_path / "runs")
    assert not (gathered / "rubbish").exists()
    assert not half.exists()


def test_where_there_is_no_fold_nothing_is_gathered(tmp_path):
    (tmp_path / "output").mkdir()
    assert gather_folds(tmp_path / "output", tmp_path / "runs") == []
