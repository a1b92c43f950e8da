from dataclasses import replace

import pytest

from pneumothorax.errors import UserError
from pneumothorax.training.history import monitored, read_history

HEAD = b"epoch,loss,mean_dice,val_loss,val_mean_dice,learning_rate\n"


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


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "No columns"),
        (bytes(range(128, 256)), "can't decode"),
        (HEAD + b"1,1,1,1,1,1\n2,1,1,1,1,1,1,1\n", "saw 8"),
        (HEAD + b"1,1,1,abc,1,1\n", "abc"),
        (HEAD + b"inf,1,1,1,1,1\n", "without an epoch"),
        (HEAD.replace(b"val_loss", b"x") + b"1,1,1,1,1,1\n", "no column val_loss"),
        (HEAD.replace(b"epoch", b"leg,epoch") + b",1,1,1,1,1,1\n", "without the number of its leg"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(fold, content, found):
    fold.path.mkdir(parents=True)
    fold.history.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_history(fold)
    assert caught.value.found.startswith(f"{fold.history} is no ")
    assert found in caught.value.found
    assert caught.value.expected
    assert caught.value.remedy


def test_a_column_that_a_reader_needs_besides_is_named(fold):
    fold.path.mkdir(parents=True)
    fold.history.write_bytes(HEAD + b"1,1,1,1,1,1\n")
    with pytest.raises(UserError, match="no column val_gain"):
        read_history(fold, "val_gain")


def test_what_is_no_finite_number_in_a_history_is_none(fold):
    fold.path.mkdir(parents=True)
    fold.history.write_bytes(HEAD + b"1,inf,,-inf,nan,0.1\n2,1")
    rows = read_history(fold)
    assert rows["epoch"].tolist() == [1, 2]
    assert rows.drop(columns="epoch").notna().sum().sum() == 2
