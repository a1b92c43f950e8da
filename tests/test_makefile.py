"""`make install` on machines that cannot have it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def install(folder, python):
    words = ["make", "--no-print-directory", "install", f"PYTHON={python}", f"VENV={folder / 'venv'}"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_old_python_is_named_before_anything_is_made(tmp_path):
    old = tmp_path / "old-python"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 10, 2); $2"\n')
    old.chmod(0o755)
    result = install(tmp_path, old)
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == (
        f"{old} is Python 3.10; expected 3.11 or newer; name it: make install PYTHON=python3.12"
    )
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there_is_named(tmp_path):
    result = install(tmp_path, "python3.nowhere")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith("no python3.nowhere here; expected Python 3.11 or newer")
    assert not (tmp_path / "venv").exists()
