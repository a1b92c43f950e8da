"""A notebook carries what its source and the commands that it calls import, and nothing else."""

from pathlib import Path

import pytest
from tests import forks

from pneumothorax import source
from pneumothorax.kaggle.notebooks.needed import find_needed

pytestmark = pytest.mark.slow

KERNELS = Path(__file__).parents[3] / "kernels"
FILES = {
    "__init__.py": "",
    "cli.py": "def _demo(options) -> int:\n    from pneumothorax.data import toys\n    return 0\n",
    "errors.py": "",
    "commands/__init__.py": "",
    "commands/runs.py": "from pneumothorax import errors\n\n\ndef train(options) -> int:\n"
    "    from pneumothorax.model.unet import build\n    return 0\n\n\ndef draw_all(options) -> int:\n"
    "    from pneumothorax.report import page\n    return 0\n",
    "commands/other.py": "def send(options) -> int:\n    return 0\n",
    "data/__init__.py": "",
    "data/rle.py": "",
    "data/toys.py": "",
    "model/__init__.py": "",
    "model/unet.py": "import pneumothorax.data.rle\n",
    "report/__init__.py": "",
    "report/page.py": "",
    "report/web/page.css": "",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "pneumothorax" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pneumothorax"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"cli.py"}),
        ("import pneumothorax", {"cli.py"}),
        ("from pneumothorax.data import rle", {"cli.py", "data/rle.py"}),
        ("from pneumothorax.data.rle import decode", {"cli.py", "data/rle.py"}),
        (
            'pneumothorax("train", *words)',
            {"cli.py", "errors.py", "commands/runs.py", "model/unet.py", "data/rle.py"},
        ),
        (
            'main(["draw-all", *words])',
            {"cli.py", "errors.py", "commands/runs.py", "report/page.py", "report/web/page.css"},
        ),
        ('pneumothorax("send")', {"cli.py", "commands/other.py"}),
        ('main(["demo"])', {"cli.py", "data/toys.py"}),
    ],
)
def test_imports_are_followed_from_the_source_and_the_commands_that_it_calls(text, expected, package):
    found = {path.as_posix() for path in find_needed(text, package)}
    folders = {Path(name).parts[0] for name in expected if "/" in name}
    assert found == expected | {"__init__.py"} | {f"{folder}/__init__.py" for folder in folders}


def test_the_order_is_that_of_the_whole_package():
    found = find_needed((KERNELS / "train" / "train.py").read_text())
    assert found == [path for path in source.list_files() if path in set(found)]


@pytest.mark.parametrize(
    ("name", "commands", "absent"),
    [
        ("train", ("prepare", "train", "tune", "figures", "report"), "commands/submissions.py"),
        ("submit", ("prepare", "tune", "predict", "submit"), "training/fit.py"),
        ("explore", ("explore",), "model/unet.py"),
    ],
)
def test_what_a_notebook_carries_imports_all_that_its_commands_need(name, commands, absent, tmp_path):
    """Import each module, and find each command, in a copy of the carried files alone."""
    found = find_needed((KERNELS / name / f"{name}.py").read_text())
    assert Path(absent) not in found
    for path in found:
        target = tmp_path / "pneumothorax" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((source.FOLDER / path).read_bytes())
    modules = [path.with_suffix("").as_posix().replace("/", ".") for path in found if path.suffix == ".py"]
    modules = [one.removesuffix("__init__").strip(".") for one in modules]
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from importlib import import_module
for module in {modules!r}:
    if module not in ("model.fast", "training.hosts"):
        import_module(f"pneumothorax.{{module}}".strip("."))
from pneumothorax import cli, source
assert str(source.FOLDER) == {str(tmp_path / "pneumothorax")!r}
parser = cli.build_parser()
for command in {commands!r}:
    words = [command, *(["somewhere"] if command == "report" else [])]
    assert callable(cli._find(parser.parse_args(words)))
"""
    code, printed = forks.run(program)
    assert code == 0, printed
