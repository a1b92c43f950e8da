"""The package's own source: its order, its digest, its commit."""

import ast
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from pneumothorax import source

ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path):
    """A package of a few files that import each other."""
    folder = tmp_path / "src" / "pneumothorax"
    for name, text in {
        "__init__.py": "",
        "cli.py": "from pneumothorax.data import last\n",
        "errors.py": "",
        "data/__init__.py": "from pneumothorax.data.last import x\n",
        "data/first.py": "from pneumothorax.data.inner import thing\n",
        "data/inner/__init__.py": "",
        "data/inner/thing.py": "import pneumothorax.data.zero\n",
        "data/last.py": "from pneumothorax.data import first\n",
        "data/zero.py": "x = 1\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *author, "-C", str(folder), *words], check=True, capture_output=True)


def test_files_come_after_what_they_import_and_folders_stay_together(package):
    assert [path.as_posix() for path in source.list_files(package)] == [
        "__init__.py",
        "errors.py",
        "data/__init__.py",
        "data/zero.py",
        "data/inner/__init__.py",
        "data/inner/thing.py",
        "data/first.py",
        "data/last.py",
        "cli.py",
    ]


def test_files_that_import_each_other_or_cannot_be_read_still_have_a_place(package):
    (package / "data" / "zero.py").write_text("from pneumothorax.data import last\n")
    (package / "data" / "broken.py").write_text("def (:\n")
    files = [path.as_posix() for path in source.list_files(package)]
    assert len(files) == len(set(files)) == 10
    assert "data/broken.py" in files


def test_every_file_of_the_package_is_listed_once():
    files = source.list_files()
    there = {path.relative_to(source.FOLDER) for path in source.FOLDER.rglob("*.py")}
    there |= {path.relative_to(source.FOLDER) for path in source.FOLDER.glob("*/web/*")}
    there = {path for path in there if not any(map(path.is_relative_to, source.AT_HOME))}
    assert set(files) == there
    assert len(files) == len(there)
    assert files[0] == Path("__init__.py")
    assert files[1] == Path("errors.py")
    assert files[-1] == Path("cli.py")


@pytest.mark.slow
def test_the_order_is_that_of_the_layers():
    """Each module that is imported at the top of another, of a lower layer or its own, stands before it."""
    files = [path for path in source.list_files() if path.suffix == ".py" and path.stem != "__init__"]
    places = {".".join(path.with_suffix("").parts): number for number, path in enumerate(files)}
    for path, number in zip(files, places.values(), strict=True):
        for node in ast.parse((source.FOLDER / path).read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pneumothorax."):
                module = node.module.removeprefix("pneumothorax.")
                for name in (module, *(f"{module}.{alias.name}" for alias in node.names)):
                    assert places.get(name, -1) < number, f"{path} imports {name}"


def test_what_stays_at_home_is_there_and_nothing_that_travels_imports_it_at_once():
    home = {name.removesuffix(".py").replace("/", ".") for name in source.AT_HOME}
    assert all((source.FOLDER / name).exists() for name in source.AT_HOME)
    for path in source.list_files():
        tree = ast.parse((source.FOLDER / path).read_bytes()) if path.suffix == ".py" else ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pneumothorax."):
                module = node.module.removeprefix("pneumothorax.")
                assert not {module, *(f"{module}.{alias.name}" for alias in node.names)} & home, path


def test_every_module_of_the_top_level_has_its_layer():
    there = {path.stem for path in source.FOLDER.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__pycache__"} <= set(source.LAYERS)


def test_the_layers_are_those_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    ranks = [
        {source.LAYERS.index(name.strip().removeprefix("pneumothorax.")) for name in layer.split("|")}
        for layer in layers
    ]
    assert all(min(upper) > max(lower) for upper, lower in pairwise(ranks))


def test_the_digest_follows_names_and_contents_alone(package, tmp_path):
    before = source.digest(package)
    assert len(before) == 12
    assert int(before, 16) >= 0
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "cli.py").write_text("compiled")
    (package / "notes.txt").write_text("notes")
    moved = package.rename(tmp_path / "pneumothorax")
    assert source.digest(moved) == before
    (moved / "errors.py").write_text("\n")
    changed = source.digest(moved)
    assert changed != before
    (moved / "errors.py").rename(moved / "faults.py")
    assert source.digest(moved) not in (before, changed)


def test_the_commit_is_named_and_changes_are_told(package):
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "all")
    commit = source.find_commit(package)
    assert len(commit) >= 7
    assert int(commit, 16) >= 0
    (package.parent / "elsewhere.txt").write_text("")  # in the repository, but not in the package
    assert source.find_commit(package) == commit
    (package / "new.py").write_text("")  # a notebook would carry it
    assert source.find_commit(package) == f"{commit}+changes"
    (package / "new.py").unlink()
    (package / "cli.py").write_text("")
    assert source.find_commit(package) == f"{commit}+changes"


@pytest.mark.parametrize("case", ["no repository", "no commit", "not tracked", "no git", "no folder"])
def test_without_a_commit_there_is_no_name(package, case, monkeypatch, tmp_path):
    if case in ("no commit", "not tracked"):
        git(tmp_path, "init", "-q")
    if case == "no commit":
        git(tmp_path, "add", ".")
    if case == "not tracked":  # such as a virtual environment within somebody's repository
        (tmp_path / "other.txt").write_text("")
        git(tmp_path, "add", "other.txt")
        git(tmp_path, "commit", "-q", "-m", "other")
    if case == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    folder = package / "missing" if case == "no folder" else package
    assert source.find_commit(folder) == ""
    monkeypatch.setenv(source.COMMIT_VARIABLE, "0a1b2c3")  # as a notebook does
    assert source.find_commit(folder) == "0a1b2c3"


def test_a_hooks_variables_lead_to_no_other_repository(package, monkeypatch, tmp_path):
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "all")
    commit = source.find_commit(package)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert source.find_commit(package) == commit != ""
