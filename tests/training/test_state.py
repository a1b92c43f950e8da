from dataclasses import replace

import numpy as np
import pytest

from pneumothorax.errors import UserError
from pneumothorax.training.state import State, load_state, save_state


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


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "No data left"),
        (b"PK\x03\x04 cut short", "not a zip file"),
        (b"hello", "pickled"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(fold, content, found):
    fold.path.mkdir(parents=True)
    fold.state.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_state(fold)
    assert caught.value.found.startswith(f"{fold.state} is no ")
    assert found in caught.value.found
    assert caught.value.expected
    assert caught.value.remedy


def test_a_state_without_its_notes_is_damaged(fold):
    fold.path.mkdir(parents=True)
    np.savez(fold.state, notes=np.array('{"epoch": 1}'))
    with pytest.raises(UserError, match=r"state\.npz is no state of training \(.*'finished'"):
        load_state(fold)


@pytest.mark.parametrize("row", ["epoch", None, {"epoch": 1.0, "loss": "low"}, [1.0]])
def test_a_row_of_the_history_without_numbers_is_damage(fold, row):
    save_state(fold, State(1, [], {}, [{"epoch": 1.0, "loss": float("nan")}, row], False))
    with pytest.raises(UserError, match="a row of its history that holds no numbers by name"):
        load_state(fold)
