"""A place is held by one process at a time, on any disk."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.waiting import HANG_SECONDS, wait_until

from pneumothorax import locks
from pneumothorax.errors import UserError
from pneumothorax.workspace import locked

BROKEN = [None, "ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL", "EIO"]


HOLD = """
import errno, fcntl, os, sys, time
from pathlib import Path
from pneumothorax.workspace import locked
if sys.argv[2] != "None":
    def flock(handle, how):
        raise OSError(getattr(errno, sys.argv[2]), "no locks here")
    fcntl.flock = flock
with locked(Path(sys.argv[1]), ""):
    print("held", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def without(monkeypatch):
    """Take the locks from the file system, as some network disks have none."""

    def take(name):
        def flock(handle, how):
            raise OSError(getattr(errno, name), "no locks here")

        monkeypatch.setattr(fcntl, "flock", flock)

    return lambda name: name and take(name)


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_lock_keeps_others_waiting_and_goes_with_its_process(tmp_path, capsys, without, broken, kind):
    without(broken)
    place = tmp_path / "place"
    place.mkdir() if kind == "folder" else place.touch()
    command = [sys.executable, "-c", HOLD, str(place), str(broken)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    killed, entered = threading.Event(), []

    def enter():
        with locked(place, "somebody works there"):
            entered.append(killed.is_set())

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(enter)
        wait_until(lambda: "somebody works there; waiting for it" in capsys.readouterr().err)
        killed.set()
        other.kill()
        other.communicate()
        waiting.result(HANG_SECONDS)
    assert entered == [True]
    assert [path.name for path in tmp_path.rglob("*")] == ["place"]  # no lock stays


@pytest.mark.parametrize("broken", [None, "ENOLCK"])
def test_many_that_lock_a_place_hold_it_one_at_a_time(tmp_path, without, monkeypatch, broken):
    without(broken)
    monkeypatch.setattr(locks, "MARK_SECONDS", 0.01)
    inside, most = [], []

    def enter(number):
        with locked(tmp_path, "somebody works there"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(80)))
    assert most == [1] * 80
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_locked_on_a_handle_for_writing_and_stays_as_it_is(tmp_path, monkeypatch):
    """NFSv4 refuses an exclusive lock on a handle for reading."""
    flock, modes = fcntl.flock, []

    def watch(handle, how):
        modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", watch)
    (tmp_path / "ledger.csv").write_text("lines")
    for place in (tmp_path / "ledger.csv", tmp_path):
        with locked(place, "somebody"):
            pass
    assert modes == [os.O_RDWR] * 2
    assert [path.read_text() for path in tmp_path.iterdir()] == ["lines"]


def test_a_mark_of_another_machine_is_waited_for_and_named(tmp_path, without, monkeypatch, capsys):
    without("ENOLCK")
    monkeypatch.setattr(locks, "MARK_SECONDS", 0.01)
    mark = tmp_path / ".locked"
    mark.write_text("another.machine 1")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: locked(tmp_path, "somebody").__enter__())
        wait_until(lambda: f"if none runs, delete {mark}" in capsys.readouterr().err)
        assert not waiting.done()
        mark.unlink()
        waiting.result(HANG_SECONDS)


def test_a_place_that_nothing_can_lock_is_one_line(tmp_path, without, monkeypatch):
    without("ENOLCK")
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_EXCL:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(
            UserError, match=r"cannot be locked \(no locks here; \.locked: No space left on device\)"
        ),
        locked(tmp_path, "somebody"),
    ):
        pass


def test_a_place_where_nothing_can_be_written_needs_no_lock(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with locked(tmp_path, "somebody"):
        assert list(tmp_path.iterdir()) == []
