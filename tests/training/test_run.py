import json
import os
from dataclasses import replace

import pytest

from pneumothorax import __version__
from pneumothorax.errors import UserError
from pneumothorax.training.fold_folder import FoldFolder, read_recipe
from pneumothorax.training.provenance import digest_folds, write_note
from pneumothorax.training.run import claim, find_folds, is_newer, newer_folds
from pneumothorax.training.state import State, save_state

ENVIRONMENT = {"keras": "3.15.1", "precision": "float32"}


def test_a_fold_remembers_its_recipe(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    assert read_recipe(fold) == tiny
    assert json.loads(fold.environment.read_text())["pneumothorax"] == __version__


def test_the_same_claim_is_accepted_again(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    claim(fold, tiny, ENVIRONMENT)


def test_another_recipe_is_refused_and_named(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    with pytest.raises(UserError, match=r"learning_rate 0\.001 -> 0\.1"):
        claim(fold, replace(tiny, learning_rate=0.1), ENVIRONMENT)
    assert read_recipe(fold) == tiny


def test_all_folds_of_a_run_share_a_recipe(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    with pytest.raises(UserError, match="another recipe"):
        claim(FoldFolder(fold.path.with_name("fold1")), replace(tiny, epochs=9), ENVIRONMENT)


def test_another_version_cannot_resume(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    save_state(fold, State(1, [], {}, [], False))
    old = json.loads(fold.environment.read_text()) | {"pneumothorax": "0.0.1"}
    fold.environment.write_text(json.dumps(old))
    with pytest.raises(UserError, match=rf"pneumothorax 0\.0\.1 -> {__version__}"):
        claim(fold, tiny, ENVIRONMENT)


def test_a_missing_run_names_those_there(tmp_path):
    (tmp_path / "runs" / "other").mkdir(parents=True)
    with pytest.raises(UserError, match="one of other"):
        find_folds(tmp_path / "runs" / "seed")


def test_other_data_is_refused_in_the_fold_and_beside_it(fold, tiny):
    claim(fold, tiny, {**ENVIRONMENT, "data": "one"})
    for path in (fold.path, fold.path.with_name("fold1")):
        with pytest.raises(UserError, match="other data"):
            claim(FoldFolder(path), tiny, {**ENVIRONMENT, "data": "other"})


def test_an_unfinished_fold_is_no_part_of_a_run(fold):
    save_state(fold, State(3, [], {}, [], False))
    fold.weights.touch()
    with pytest.raises(UserError, match="trained 3 epochs and not finished"):
        find_folds(fold.path.parent)
    save_state(fold, State(3, [], {}, [], True))
    assert find_folds(fold.path.parent) == [fold]


def test_a_run_without_weights_is_refused(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    with pytest.raises(UserError, match="no trained fold"):
        find_folds(fold.path.parent)


def test_a_copy_of_a_fold_is_no_fold(fold, tiny):
    for name in ("fold0", "fold10", "fold0.bak", "fold", "fold1 copy"):
        path = fold.path.with_name(name)
        path.mkdir(parents=True)
        (path / "best.weights.h5").touch()
        (path / "recipe.json").write_text("{")
        (path / "environment.json").write_text('{"data": "other"}')
    run = fold.path.parent
    assert [one.path.name for one in find_folds(run)] == ["fold0", "fold10"]
    for name in ("fold0", "fold10"):
        (run / name / "recipe.json").unlink()
        (run / name / "environment.json").unlink()
    claim(fold, tiny, ENVIRONMENT)


def test_a_file_is_older_than_the_folds_whose_weights_are_newer(tmp_path):
    trained = [FoldFolder(tmp_path / f"fold{number}") for number in range(3)]
    path = tmp_path / "decision.json"
    for number, fold in enumerate(trained):
        fold.path.mkdir()
        fold.weights.touch()
        os.utime(fold.weights, ns=(number, number))
    assert newer_folds(path, trained) == []
    path.touch()
    os.utime(path, ns=(1, 1))
    assert newer_folds(path, trained) == ["fold2"]


def test_what_notes_its_weights_is_judged_by_them_alone(tmp_path):
    trained = [FoldFolder(tmp_path / f"fold{number}") for number in range(2)]
    for number, fold in enumerate(trained):
        fold.path.mkdir()
        fold.weights.write_bytes(bytes([number]))
    rule, table = tmp_path / "decision.json", tmp_path / "predictions" / "studies.csv"
    table.parent.mkdir()
    table.touch()
    made_of = digest_folds(fold.weights for fold in trained)
    write_note(table.parent, made_of)
    rule.write_text(json.dumps({"threshold": 0.5, "made_of": made_of}))
    for path in (rule, table):
        os.utime(path, ns=(1, 1))  # as of a copy or an archive without times
        assert newer_folds(path, trained) == []
        assert is_newer(path, trained[1])
    trained[1].weights.write_bytes(b"trained again")
    for fold in trained:
        os.utime(fold.weights, ns=(0, 0))
    for path in (rule, table):
        assert newer_folds(path, trained) == ["fold1"]
        assert not is_newer(path, trained[1])
        assert is_newer(path, trained[0])
    table.with_name("made_of.json").write_text("{broken")
    assert newer_folds(table, trained) == []  # by its time again
