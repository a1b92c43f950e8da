"""`segment --model`: the results of the run's own networks, without Keras."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement
from tests.inference.echo import BUILDER, PLAIN, build_echo, headed, make_run
from tests.inference.onnx_files import export_echo

from pneumothorax.cli import main
from pneumothorax.inference.decision import Decision, write_decision
from pneumothorax.inference.rule import Rule

ROOT = Path(__file__).parents[2]
LIST = ROOT / "requirements-segment.txt"
DECISION = Decision(Rule(0.4, 0.6, 300, classification_threshold=0.1), score=0.8)

pytest.importorskip("onnxruntime", reason="not installed: pip install -e '.[onnx]'")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDER, build_echo)
    run = make_run(tmp_path / "work", recipe=headed(PLAIN))
    write_decision(run / "decision.json", DECISION)
    return run


@pytest.fixture
def file(run, tmp_path):
    return export_echo(run, tmp_path / "echo.onnx", tuned=DECISION)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(2)
    for number, shape in enumerate([(300, 300), (200, 410), (1024, 1024)]):
        levels = cv2.resize(generator.integers(0, 256, (6, 6), dtype=np.uint8), shape[::-1])
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", levels)[1].tobytes())
    (folder / "4.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes())
    (folder / "5.dcm").write_bytes(b"broken")
    return folder


def contents(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "segment.jsonl"  # names the source of each image
    }


def fails(capsys, *words):
    try:
        code = main([str(word) for word in words])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert ": error: " in err
    return err


def test_a_file_gives_the_results_of_its_run(run, file, images, tmp_path, capsys):
    words = ["segment", str(images), "--skip-bad", "--out"]
    assert main([*words, str(tmp_path / "a"), "--run", run.name, "--root", str(tmp_path / "work")]) == 0
    first = capsys.readouterr().out
    assert main([*words, str(tmp_path / "b"), "--model", str(file)]) == 0
    assert capsys.readouterr().out.replace(str(tmp_path / "b"), str(tmp_path / "a")) == first
    found = contents(tmp_path / "b")
    assert found == contents(tmp_path / "a")
    assert len(found) == 2 + 2 * 4
    about = json.loads(found["results.json"])
    assert (about["run"], about["rule"]) == (run.name, str(DECISION.rule))


def test_flags_change_the_rule_of_a_file(file, images, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["segment", images / "0.png", "--model", file, "--out", out]
    error = fails(capsys, *words, "--threshold", "0.9")
    assert "the top threshold 0.6 of" in error
    assert "echo.onnx" in error
    assert not out.exists()
    assert main([str(word) for word in [*words, "--threshold", "0.9", "--top-threshold", "0.9"]]) == 0
    assert "threshold 0.9," in json.loads((out / "results.json").read_text())["rule"]


def test_a_rule_that_was_never_tuned_is_a_warning(run, images, tmp_path, capsys):
    file = export_echo(run, tmp_path / "plain.onnx", tuned=Decision())
    out = str(tmp_path / "out")
    assert main(["segment", str(images / "0.png"), "--model", str(file), "--out", out]) == 0
    assert "is not tuned" in capsys.readouterr().err


def test_mistakes_are_one_line_and_nothing_is_written(run, file, images, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    words = ["segment", images, "--out", out]
    assert "not allowed with argument" in fails(capsys, *words, "--run", "echo", "--model", file)
    assert "no file" in fails(capsys, *words, "--model", tmp_path / "none.onnx")
    assert "is a folder" in fails(capsys, *words, "--model", tmp_path)
    file.write_bytes(file.read_bytes()[:-9])
    assert "ends early" in fails(capsys, *words, "--model", file)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install" in fails(capsys, *words, "--model", file)
    assert not out.exists()


def allowed_modules():
    """Return the import names of the packages of the list, and of those that they require."""
    names = set()
    waiting = [Requirement(line).name for line in LIST.read_text().splitlines() if not line.startswith("#")]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in names:
            continue
        names.add(name)
        try:
            needed = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue  # for another system
        waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    known = packages_distributions().items()
    return sorted(
        module for module, owners in known if {one.lower().replace("_", "-") for one in owners} & names
    )


@pytest.mark.slow
def test_the_list_of_packages_is_enough_and_no_network_library_is_imported(file, images, tmp_path):
    code = (
        "import sys\n"
        "from importlib.machinery import ModuleSpec\n"
        "allowed = {'pneumothorax', *sys.stdlib_module_names, *sys.argv.pop(1).split(',')}\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.split('.')[0]\n"
        "        return None if top in allowed or top.startswith('_') else ModuleSpec(name, self)\n"
        "    def create_module(self, spec):\n"
        "        raise ModuleNotFoundError(f'{spec.name} is not on the list', name=spec.name)\n"
        "    def exec_module(self, module):\n"
        "        pass\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from pneumothorax.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not set(sys.modules) & {'keras', 'tensorflow', 'jax', 'onnx'}\n"
        "sys.exit(code)\n"
    )
    words = ["segment", images, "--skip-bad", "--model", file, "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(allowed_modules()), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[1:])},
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 4


def test_the_list_has_the_bounds_of_setup_py():
    setup = (ROOT / "setup.py").read_text()
    for line in LIST.read_text().splitlines():
        assert line.startswith("#") or f'"{line}"' in setup, line
