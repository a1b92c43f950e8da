import os

import pytest

from pneumothorax.data.files import fault_of_name, is_special, refuse_unreadable, walk
from pneumothorax.errors import UserError


def names(folder, mark=None):
    unreadable = []
    found = [path.relative_to(folder).as_posix() for path in walk(folder, unreadable, mark)]
    assert unreadable == []
    return found


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2", "b/1", "a/c/3", ".hidden/4", "__MACOSX/5", ".6", "7"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_files_come_in_a_fixed_order_without_those_of_hidden_folders(tree):
    assert names(tree) == [".6", "7", "a/c/3", "b/1", "b/2"]


def test_a_folder_is_entered_once_whatever_leads_to_it(tree):
    (tree / "a" / "back").symlink_to(tree)
    (tree / "z").symlink_to(tree / "b")
    assert names(tree) == [".6", "7", "a/c/3", "b/1", "b/2"]


def test_a_marked_folder_is_left_out_with_all_below_it(tree):
    (tree / "a" / "log").touch()
    assert names(tree, "log") == [".6", "7", "b/1", "b/2"]


def test_what_cannot_be_read_is_named_and_refused_or_left_out(tree, capsys):
    refuse_unreadable([], tree, skip_bad=False)
    refuse_unreadable(["x (why)"], tree, skip_bad=True)
    assert "cannot read x (why)" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"cannot read x \(why\) and 1 more below"):
        refuse_unreadable(["x (why)", "y"], tree, skip_bad=False)


def test_a_pipe_is_special_and_a_missing_file_is_not(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert [is_special(tmp_path / name) for name in ("pipe", "file", "missing")] == [True, False, False]


def test_a_name_that_no_table_holds_has_a_fault(tmp_path):
    assert fault_of_name(tmp_path / "ä,b\n.dcm") is None
    assert "carriage return" in fault_of_name(tmp_path / "a\rb")
    assert "not UTF-8" in fault_of_name(tmp_path / os.fsdecode(b"R\xf6ntgen"))
