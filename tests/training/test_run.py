import json
import os
from dataclasses import replace

import numpy as np
import pytest

from pneumothorax import __version__
from pneumothorax.errors import UserError
from pneumothorax.training.provenance import digest_folds, write_note
from pneumothorax.training.run import (
    FoldFolder,
    State,
    claim,
    find_folds,
    is_newer,
    load_state,
    monitored,
    newer_folds,
    read_environment,
    read_history,
    read_recipe,
    save_state,
)

ENVIRONMENT = {"keras": "3.15.1", "precision": "float32"}


@pytest.fixture
def fold(tmp_path):
    return FoldFolder(tmp_path / "runs" / "seed" / "fold0")


def test_a_state_comes_back_as_it_was(fold):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3, dtype=np.int32)]
    state = State(
        4, arrays, {"EarlyStopping": {"best": 0.5, "wait": 2}}, [{"epoch": 1.0, "loss": 0.25}], False
    )
    save_state(fold, state)
    again = load_state(fold)
    assert again is not None
    for a, b in zip(arrays, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert replace(again, variables=[]) == replace(state, variables=[])


def test_no_state_is_none(fold):
    assert load_state(fold) is None


def test_a_failed_write_leaves_the_old_state(fold, monkeypatch):
    save_state(fold, State(1, [np.zeros(2)], {}, [], False))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        save_state(fold, State(2, [np.ones(2)], {}, [], False))
    assert load_state(fold).epoch == 1
    assert [path.name for path in fold.path.iterdir()] == ["state.npz"]


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


def test_a_recipe_of_another_version_is_refused(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    values = json.loads(fold.recipe.read_text())
    values["warp_drive"] = True
    fold.recipe.write_text(json.dumps(values))
    with pytest.raises(UserError, match="warp_drive"):
        read_recipe(fold)


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


@pytest.mark.parametrize(
    ("monitor", "name"),
    [
        ("gain", "val_gain"),
        ("soft_dice", "val_mean_dice"),
        ("hard_dice", "val_hard_dice"),
        ("balanced_dice", "val_balanced_dice"),
    ],
)
def test_the_recipe_says_what_picks_the_epochs(monitor, name, tiny):
    assert monitored(replace(tiny, monitor=monitor)) == name


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


HEAD = b"epoch,loss,mean_dice,val_loss,val_mean_dice,learning_rate\n"


@pytest.mark.parametrize(
    ("name", "read", "content", "found"),
    [
        ("state.npz", load_state, b"", "No data left"),
        ("state.npz", load_state, b"PK\x03\x04 cut short", "not a zip file"),
        ("state.npz", load_state, b"hello", "pickled"),
        ("recipe.json", read_recipe, b"\xff\xfe\x00", "can't decode"),
        ("recipe.json", read_recipe, b"{", "not JSON"),
        ("recipe.json", read_recipe, b"[1]", "JSON of type list"),
        ("environment.json", read_environment, b"[1, 2]", "list"),
        ("environment.json", read_environment, b"\xff\xff", "can't decode"),
        ("history.csv", read_history, b"", "No columns"),
        ("history.csv", read_history, bytes(range(128, 256)), "can't decode"),
        ("history.csv", read_history, HEAD + b"1,1,1,1,1,1\n2,1,1,1,1,1,1,1\n", "saw 8"),
        ("history.csv", read_history, HEAD + b"1,1,1,abc,1,1\n", "abc"),
        ("history.csv", read_history, HEAD + b"inf,1,1,1,1,1\n", "without an epoch"),
        (
            "history.csv",
            read_history,
            HEAD.replace(b"val_loss", b"x") + b"1,1,1,1,1,1\n",
            "no column val_loss",
        ),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(fold, name, read, content, found):
    fold.path.mkdir(parents=True)
    (fold.path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(fold)
    assert caught.value.found.startswith(f"{fold.path / name} is no ")
    assert found in caught.value.found
    assert caught.value.expected
    assert caught.value.remedy


def test_a_state_without_its_notes_is_damaged(fold):
    fold.path.mkdir(parents=True)
    np.savez(fold.state, notes=np.array('{"epoch": 1}'))
    with pytest.raises(UserError, match=r"state\.npz is no state of training \(.*'finished'"):
        load_state(fold)


def test_what_is_no_finite_number_in_a_history_is_none(fold):
    fold.path.mkdir(parents=True)
    fold.history.write_bytes(HEAD + b"1,inf,,-inf,nan,0.1\n2,1")
    rows = read_history(fold)
    assert rows["epoch"].tolist() == [1, 2]
    assert rows.drop(columns="epoch").notna().sum().sum() == 2
