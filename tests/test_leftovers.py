"""What killed commands leave beside a file goes when it is written again, a day later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pneumothorax import leftovers
from pneumothorax.workspace import write_text

LEAVES = """
import os, signal, sys
from pathlib import Path
from pneumothorax.workspace import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _another_process():
    leftovers._find.cache_clear()


def grow_old(path):
    os.utime(path, (1, 1))


def test_the_leftover_of_a_killed_command_goes_when_its_file_is_written_again(tmp_path):
    subprocess.run([sys.executable, "-c", LEAVES, str(tmp_path / "a.csv")], check=False)
    (left,) = tmp_path.iterdir()
    grow_old(left)
    write_text(tmp_path / "b.csv", "another")
    assert left.is_file()
    write_text(tmp_path / "a.csv", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    "name", [".abcdefgh.a.csv", ".abc.a.csv", ".abcdefgh.b.csv", "abcdefgh.a.csv", ".a.csv"]
)
def test_a_young_file_and_one_of_another_name_stay(tmp_path, name):
    (tmp_path / name).write_text("mine")
    if name != ".abcdefgh.a.csv":
        grow_old(tmp_path / name)
    write_text(tmp_path / "a.csv", "new")
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_of_such_a_name_stays_with_its_target(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".abcdefgh.a.csv").symlink_to(Path("mine"))
    grow_old(tmp_path / "mine")
    write_text(tmp_path / "a.csv", "new")
    assert (tmp_path / ".abcdefgh.a.csv").read_text() == "mine"
