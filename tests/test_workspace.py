"""Folders of one entry, and files that are never half written."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pneumothorax.errors import UserError
from pneumothorax.workspace import Workspace, atomic, reading, replace_folder, restore_folder, write_text


@pytest.fixture
def umask():
    """Set the process's umask, and set it back."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_all_folders_lie_below_the_root():
    workspace = Workspace(Path("/entry"))
    assert workspace.raw == Path("/entry/data/raw")
    assert workspace.data == Path("/entry/data")
    assert workspace.runs == Path("/entry/runs")
    assert workspace.figures == Path("/entry/figures")
    assert workspace.submissions == Path("/entry/submissions")


def test_every_size_interpolation_and_part_has_a_cache_of_its_own():
    workspace = Workspace(Path("/entry"))
    words = [
        (128, "area", "train"),
        (128, "area", "test"),
        (128, "bilinear", "train"),
        (256, "area", "train"),
    ]
    folders = {workspace.cache(*word) for word in words}
    assert len(folders) == 4
    assert all(folder.is_relative_to("/entry/data/cache") for folder in folders)


def test_making_a_workspace_makes_no_folder(tmp_path):
    assert Workspace(tmp_path / "new").cache(128, "area", "test")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_appears_with_the_folders_above_it(tmp_path):
    path = tmp_path / "a" / "b" / "c.json"
    write_text(path, "äöü\n")
    assert path.read_bytes() == "äöü\n".encode()
    assert [found.name for found in path.parent.iterdir()] == ["c.json"]


def test_the_temporary_path_keeps_the_suffix_and_is_hidden_beside_the_file(tmp_path):
    with atomic(tmp_path / "x.weights.h5") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith("x.weights.h5")
        assert not (tmp_path / "x.weights.h5").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_leaves_the_old_file_and_no_debris(tmp_path, error, old):
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_text(old)

    def fail():
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        fail()
    assert [found.read_text() for found in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_target_that_is_a_folder_is_an_error_without_debris(tmp_path):
    (tmp_path / "file.txt" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "file.txt", "new")
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_a_pipe_is_not_replaced_and_a_link_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is no ordinary file"):
        write_text(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    for text in ("first", "second"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there").read_text() == text


def test_a_link_to_itself_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to("link")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").read_text() == "new"


def test_an_error_of_the_disk_names_the_file_that_was_wanted(tmp_path):
    with pytest.raises(OSError, match="full") as caught, atomic(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(tmp_path / "file.txt")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_what_the_umask_says(tmp_path, umask, mask, mode):
    umask(mask)
    write_text(tmp_path / "file.txt", "text")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == mode
    assert umask(mask) == mask  # looking at it did not change it


def test_a_writer_that_renames_its_own_file_into_place_is_welcome(tmp_path):
    with atomic(tmp_path / "file.txt") as temporary:
        (tmp_path / "own").write_text("new")
        (tmp_path / "own").replace(temporary)
    assert (tmp_path / "file.txt").read_text() == "new"


def test_writers_at_once_leave_one_whole_file(tmp_path):
    texts = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(tmp_path / "file.txt", text), texts))
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() in texts


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = f"""
        import os, signal
        from pathlib import Path
        from pneumothorax.workspace import atomic
        with atomic(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_pipe_is_no_file_to_read_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with (
        pytest.raises(UserError, match=r"a\.json is no decision \(a pipe\)"),
        reading(tmp_path / "a.json", "decision", "tune", "") as path,
    ):
        path.read_text()


def fill(folder, text):
    for path in (folder / "a.txt", folder / "below" / "b.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


OLD, NEW = ({"a.txt": text, "below/b.txt": text} for text in ("old", "new"))


def test_a_folder_appears_when_it_is_complete_and_replaces_the_old_one(tmp_path):
    folder = tmp_path / "deep" / "folder"
    for text, more in (("old", ["stray"]), ("new", [])):
        with replace_folder(folder) as build:
            assert list(build.iterdir()) == []
            fill(build, text)
            for name in more:
                (build / name).touch()
            assert content(folder) == ({} if text == "old" else {**OLD, "stray": ""})
    assert content(folder) == NEW
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failed_block_leaves_the_old_folder_and_no_debris(tmp_path, error, old):
    if old:
        fill(tmp_path / "folder", old)

    def fail():
        with replace_folder(tmp_path / "folder") as build:
            fill(build, "new")
            raise error

    with pytest.raises(error):
        fail()
    assert content(tmp_path) == ({f"folder/{name}": text for name, text in OLD.items()} if old else {})


@pytest.mark.parametrize("number", [1, 2])
def test_a_rename_that_fails_leaves_the_old_folder(tmp_path, monkeypatch, number):
    fill(tmp_path / "folder", "old")
    real, calls = Path.rename, []

    def rename(path, target):
        calls.append(path)
        if len(calls) == number:
            raise OSError(errno.EBUSY, "busy")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="busy"), replace_folder(tmp_path / "folder") as build:
        fill(build, "new")
    assert content(tmp_path / "folder") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_of_a_linked_folder_the_target_is_replaced(tmp_path):
    fill(tmp_path / "disk" / "there", "old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "there")
    with replace_folder(tmp_path / "link") as build:
        fill(build, "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "disk") == {f"there/{name}": text for name, text in NEW.items()}


def test_a_file_in_the_place_of_a_folder_is_refused_before_the_work(tmp_path):
    (tmp_path / "folder").write_text("mine")
    with pytest.raises(UserError, match="folder is a file"), replace_folder(tmp_path / "folder"):
        pytest.fail("the block began")
    assert content(tmp_path) == {"folder": "mine"}


# Killed as it asks the system for the n-th change of a folder, or as it ends.
KILLED = """
import os, signal, sys
from pathlib import Path
from pneumothorax.workspace import replace_folder
left = int(sys.argv[2])
def kill(event, arguments):
    global left
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
with replace_folder(Path(sys.argv[1])) as build:
    (build / "below").mkdir()
    for name in ("a.txt", "below/b.txt"):
        (build / name).write_text("new")
"""


@pytest.mark.slow
@pytest.mark.parametrize("old", [None, "old"])
def test_a_kill_at_any_step_loses_no_folder_and_the_next_call_ends_well(tmp_path, old):
    states = []
    for number in range(1, 100):
        folder = tmp_path / str(number) / "folder"
        folder.parent.mkdir()
        if old:
            fill(folder, old)
        command = [sys.executable, "-c", KILLED, str(folder), str(number)]
        ended = subprocess.run(command, check=False)
        restored = restore_folder(folder)
        states.append(content(restored) if restored.exists() else None)
        assert states[-1] in (NEW, OLD if old else None)
        with replace_folder(folder) as build:
            fill(build, "newest")
        assert content(folder) == dict.fromkeys(NEW, "newest")
        assert [path.name for path in folder.parent.iterdir()] == ["folder"]
        if not ended.returncode:
            break
        assert ended.returncode == -signal.SIGKILL
    assert states[0] == (OLD if old else None)
    assert states[-1] == NEW
    assert len(states) > (6 if old else 3)


def test_a_folder_that_is_half_removed_is_no_folder_to_restore(tmp_path):
    """The second rename is done: what is left of the old one goes."""
    fill(tmp_path / "folder", "new")
    (tmp_path / ".folder.old").mkdir()
    (tmp_path / ".folder.old" / "a.txt").write_text("old")
    restore_folder(tmp_path / "folder")
    assert content(tmp_path) == {f"folder/{name}": text for name, text in NEW.items()}
