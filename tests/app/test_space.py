"""The folder of a Hugging Face Space: complete by itself, pinned, and never written over something else."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.inference.echo import make_run
from tests.inference.onnx_files import export_echo

from pneumothorax.app import space
from pneumothorax.app.space import build_space
from pneumothorax.errors import UserError
from pneumothorax.inference.model_file import read_model_file

ROOT = Path(__file__).parents[2]
NAMES = ["README.md", "app.py", "requirements.txt", ".gitattributes", "model.onnx", "pneumothorax"]


@pytest.fixture(autouse=True)
def _gradio(monkeypatch):
    monkeypatch.setattr(space, "version", lambda name: "6.31.0" if name == "gradio" else version(name))


@pytest.fixture
def file(tmp_path):
    return export_echo(make_run(tmp_path), tmp_path / "echo.onnx")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_space_has_header_pins_model_and_source(file, tmp_path):
    folder = tmp_path / "space"
    assert build_space(folder, file, max_mb=20) == NAMES
    assert {path.name for path in folder.iterdir()} == set(NAMES)
    lines = (folder / "README.md").read_text("utf-8").splitlines()
    header = dict(line.split(": ", 1) for line in lines[1 : lines.index("---", 1)])
    assert (header["sdk"], header["sdk_version"], header["app_file"]) == ("gradio", '"6.31.0"', "app.py")
    assert header["title"] == '"Pneumothorax: echo"'
    assert len(header["short_description"]) <= 60  # the hub's limit
    assert "no diagnosis" in "\n".join(lines)
    pins = [Requirement(line) for line in (folder / "requirements.txt").read_text().splitlines()]
    assert all(str(pin.specifier) == f"=={version(pin.name)}" for pin in pins)
    wanted = {
        Requirement(line).name
        for line in (ROOT / "requirements-segment.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    assert wanted <= {pin.name for pin in pins}
    assert read_model_file(folder / "model.onnx").digest == read_model_file(file).digest
    assert (folder / "pneumothorax/app/web/app.css").is_file()
    assert not list(folder.rglob("__pycache__"))


def test_its_program_finds_what_it_needs_in_the_folder(file, tmp_path):
    folder = tmp_path / "space"
    build_space(folder, file, max_mb=20)
    code = (
        "import runpy, pneumothorax.app.server as server\n"
        "def serve(networks, decision, **options):\n"
        "    print(networks.name, options['host'], options['max_mb'], server.__file__)\n"
        "server.serve = serve\n"
        "runpy.run_path('app.py', run_name='__main__')\n"
    )
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["echo", "0.0.0.0", "20", str(folder / "pneumothorax/app/server.py")]


def test_it_is_written_again_over_an_earlier_one_and_keeps_its_repository(file, tmp_path):
    folder = tmp_path / "space"
    build_space(folder, file, max_mb=20)
    first = contents(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / "pneumothorax" / "old.py").touch()
    build_space(folder, file, max_mb=20)
    again = contents(folder)
    assert again.pop(Path(".git/HEAD")) == b"ref"
    assert again == first


@pytest.mark.parametrize("name", ["notes.txt", "README.md"])
def test_a_folder_of_other_files_is_refused_and_stays(file, tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"holds other files .*{name}"):
        build_space(folder, file, max_mb=20)
    assert contents(folder) == {Path(name): b"mine"}


def test_a_space_with_a_file_of_the_user_s_is_refused(file, tmp_path):
    folder = tmp_path / "space"
    build_space(folder, file, max_mb=20)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(notes\.txt\)"):
        build_space(folder, file, max_mb=20)
    with pytest.raises(UserError, match="is a file"):
        build_space(folder / "notes.txt", file, max_mb=20)


def test_a_file_that_is_none_of_export_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"text")
    with pytest.raises(UserError, match=r"other\.onnx is no exported ONNX file"):
        build_space(tmp_path / "space", tmp_path / "other.onnx", max_mb=20)
    assert not (tmp_path / "space").exists()
