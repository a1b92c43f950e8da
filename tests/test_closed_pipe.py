"""Output that nobody reads, or that has no room, ends a command as it ends Unix tools."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.slow

ROWS = "ImageId,EncodedPixels\na,5 2\n"


def run(words, **streams):
    command = [sys.executable, "-m", "pneumothorax.cli", *words]
    return subprocess.run(command, check=False, timeout=HANG_SECONDS, **streams)


@pytest.fixture
def unread():
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def score(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    return ["score", str(tmp_path / "rows.csv"), "--truth", str(tmp_path / "rows.csv")]


def test_a_command_whose_output_nobody_reads_ends_quietly(score, unread):
    ended = run(score, stdout=unread, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_warning_that_nobody_reads_ends_quietly(tmp_path, unread):
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "more.csv").write_text(ROWS + "b,-1\n")
    words = ["score", str(tmp_path / "rows.csv"), "--truth", str(tmp_path / "more.csv")]
    assert run(words, stdout=unread, stderr=unread).returncode == 141


def test_help_that_nobody_reads_ends_quietly(unread):
    ended = run(["train", "--help"], stdout=unread, stderr=subprocess.PIPE)
    assert ended.stderr == b""


def test_output_on_a_full_disk_is_one_line(score):
    with Path("/dev/full").open("w") as full:
        ended = run(score, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "No space left on device" in ended.stderr


def test_a_command_without_any_output_works(score):
    code = f"import sys; sys.stdout = None; from pneumothorax.cli import main; sys.exit(main({score}))"
    ended = subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (0, b"")
