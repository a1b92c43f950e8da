"""`make install` on machines that cannot have it, and the recipe and run that other targets name."""

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


@pytest.fixture
def called(tmp_path):
    """Return a function that runs make, and returns the words that a stand-in of the package got."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name, line in {
        "python": f'exec "{sys.executable}" "$@"',
        "pneumothorax": 'printf "%s\\n" "$@"',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    (folder.parent / ".installed").touch()

    def call(*words, code=0):
        command = ["make", "--silent", f"VENV={folder.parent}", *words]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == code, ended
        return ended.stderr if code else ended.stdout.splitlines()

    return call


def test_the_run_has_the_recipe_s_name(called):
    assert called("prepare", "RECIPE=strong") == ["prepare", "--recipe", "strong"]
    assert called("train", "RECIPE=strong") == ["train", "--recipe", "strong", "--run", "strong"]
    assert called("train", "RECIPE=strong", "RUN=one") == ["train", "--recipe", "strong", "--run", "one"]
    assert called("tune", "RECIPE=strong") == ["tune", "strong"]
    assert called("tune") == ["tune"]
    assert called("report") == ["report", "seed"]
    assert called("push", "KERNEL=train", "RECIPE=lite") == ["push", "train", "--parameter", "RECIPE=lite"]


def test_variables_become_the_commands_arguments(called):
    for target in ("tune", "predict", "figures", "submit"):
        assert called(target, "RUN=one", "ARGS=--debug") == [target, "one", "--debug"]
    assert called("submit", "ARGS=--file a.csv") == ["submit", "--file", "a.csv"]
    assert called("app", "RUN=one") == ["app", "--run", "one"]
    words = called("segment", "IMAGES=some folder", "RUN=one", "OUT=there")
    assert words == ["segment", "some folder", "--run", "one", "--out", "there"]
    for target in ("push", "kernel-status", "kernel-output"):
        assert called(target, "KERNEL=train", "FOLDS=0,2") == [target, "train", "--fold", "0,2"]
        assert called(target, "KERNEL=submit") == [target, "submit"]


@pytest.mark.slow
def test_the_run_of_a_recipe_file_has_the_name_that_the_file_says(called, tmp_path):
    path = tmp_path / "my recipe.json"
    for content, name in (("{}", "my recipe"), ('{"name": "$(HOME) `id` \'x"}', "$(HOME) `id` 'x")):
        path.write_text(content)
        assert called("train", f"RECIPE={path}") == ["train", "--recipe", str(path), "--run", name]
        assert called("tune", f"RECIPE={path}") == ["tune", name]
        assert called("report", f"RECIPE={path}") == ["report", name]
        assert called("tune", f"RECIPE={path}", "RUN=one") == ["tune", "one"]
    assert called("push", "KERNEL=train", f"RECIPE={path}")[-2:] == ["--parameter", f"RECIPE={path}"]


def test_a_wrong_recipe_file_names_no_run(called, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"sise": 96}')
    for target in ("train", "submit"):
        err = called(target, f"RECIPE={path}", code=2)
        assert f"pneumothorax: error: {path}: unknown field 'sise'" in err
