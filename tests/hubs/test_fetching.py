"""Published models come into the workspace once, file by file, checked; hostile ones do not come at all."""

import hashlib
import json

import h5py
import pytest
from tests.inference.echo import PLAIN, build_echo
from tests.kaggle.outcomes import assert_refused
from tests.kaggle.standin import Model, Version
from tests.kaggle.standin_kit import Program

from pneumothorax.errors import UserError
from pneumothorax.hubs.fetching import find_run
from pneumothorax.hubs.manifest import NAME
from pneumothorax.model.unet import load_weights
from pneumothorax.workspace import Workspace

pytestmark = pytest.mark.slow

# The command's way into this module, without the network library that `segment` loads.
FETCH = (
    "-c",
    "import pneumothorax.cli as cli, pneumothorax.commands.run_folders as folders\n"
    "from pneumothorax.kaggle.client import connection\n"
    "from types import SimpleNamespace\n"
    "connection.time = SimpleNamespace(sleep=lambda seconds: None)\n"
    "cli._find = lambda options: lambda options: print(folders.run_folder(options)) or 0\n"
    "raise SystemExit(cli.main())",
)
ENCODER = (
    "-c",
    "import sys, pathlib\n"
    "from pneumothorax import recipe, workspace\n"
    "from pneumothorax.commands import run_folders\n"
    "asked = recipe.Recipe(encoder_weights=sys.argv[1])\n"
    "found = run_folders.with_published_weights(asked, workspace.Workspace(pathlib.Path('.')))\n"
    "print(found.encoder_weights)\n",
)
ADDRESS = "kaggle://somebody/model-of-theirs/keras/small"
FILES = {
    "README.md": b"card",
    "encoder.weights.h5": b"encoder" * 100,
    "fold0/best.weights.h5": b"weights" * 100_000,
    "fold0/recipe.json": b"{}",
}


def listed(files, **changes):
    """Return the files of a published model with their list, some entries changed."""
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
    }
    values = {"kind": "pneumothorax model 1", "run": "a", "source": "b", "files": entries | changes}
    return files | {NAME: json.dumps(values).encode()}


@pytest.fixture
def versions(standin):
    """The versions of a public model of somebody else's; one is there."""
    found = [Version(listed(FILES), {})]
    variations = {"MODEL_FRAMEWORK_KERAS/small": found}
    standin.models["somebody/model-of-theirs"] = Model("a", is_private=False, variations=variations)
    return found


@pytest.fixture
def fetch(standin, tmp_path, tmp_path_factory):
    """Resolves `--run` in a program of its own, below `tmp_path`."""
    program = Program(FETCH, standin, tmp_path, tmp_path_factory.mktemp("home"))
    yield lambda text, **options: program("segment", "x", "--out", "y", "--run", text, **options)
    program.close()


def content_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def downloads(standin):
    return len(standin.calls("GET storage"))


def test_a_model_is_downloaded_once_for_each_version(fetch, standin, versions, tmp_path):
    result = fetch(ADDRESS)
    assert result.code == 0, result
    folder = tmp_path / result.stdout.strip()
    assert folder.relative_to(tmp_path).as_posix() == (
        "data/models/kaggle--somebody--model-of-theirs--keras--small--1"
    )
    assert content_of(folder) == versions[0].files
    count = downloads(standin)
    assert fetch(f"{ADDRESS}/1", environment={"KAGGLE_KEY": None, "KAGGLE_USERNAME": None}).code == 0
    assert fetch(ADDRESS).code == 0
    assert downloads(standin) == count
    versions.append(Version(listed(FILES | {"README.md": b"new"}), {}))
    newest = tmp_path / fetch(ADDRESS).stdout.strip()
    assert newest.name.endswith("--2")
    assert (newest / "README.md").read_bytes() == b"new"


def test_a_lost_connection_resumes_with_the_files_and_bytes_that_came(fetch, standin, versions, tmp_path):
    standin.fail("GET storage best.weights", 6, cut_after=300_000)
    standin.fail("DownloadModelInstanceVersion", 6, reset=True, after=3)
    assert_refused(fetch(ADDRESS), "run the same command again")
    assert not list(tmp_path.glob("data/models/kaggle*"))
    before = [request.path for request in standin.calls("GET storage")]
    standin._faults.clear()
    assert fetch(ADDRESS).code == 0
    after = [request.path for request in standin.calls("GET storage")][len(before) :]
    assert not {path for path in after if path.endswith(("encoder.weights.h5", "README.md", NAME))}
    assert content_of(next(tmp_path.glob("data/models/kaggle*"))) == versions[0].files


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (listed(FILES, **{"../../../evil.h5": {"sha256": "0" * 64, "bytes": 1}}), ["holds no model"]),
        (listed(FILES, **{"README.md": {"sha256": "0" * 64, "bytes": 4}}), ["README.md", "not as its list"]),
        (listed(FILES, **{"README.md": {"sha256": "0" * 64, "bytes": 3}}), ["README.md of 4 bytes"]),
        ({"model.pkl": b"\x80\x04"}, ["Kaggle answers 404"]),
        ({NAME: b"<html>"}, ["holds no model"]),
    ],
)
def test_hostile_and_foreign_models_are_one_line_and_write_nothing_elsewhere(
    fetch,
    versions,
    tmp_path,
    files,
    words,
):
    versions[0].files = files
    assert_refused(fetch(ADDRESS), *words)
    assert not list(tmp_path.rglob("evil*"))
    assert not list(tmp_path.glob("data/models/kaggle*"))
    assert {path.name for path in tmp_path.iterdir()} <= {"data"}


def test_a_model_that_is_not_there_and_a_wrong_address_are_one_line(fetch, versions):
    assert_refused(fetch("kaggle://somebody/other-model/keras/small"), "no model kaggle://somebody/other")
    assert_refused(fetch(f"{ADDRESS}/7"), "404")
    result = fetch("kaggle://somebody/model-of-theirs")
    assert result.code == 2
    assert "expected kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]" in result.stderr


def test_training_begins_with_the_encoder_of_a_published_model(standin, versions, tmp_path, tmp_path_factory):
    program = Program(ENCODER, standin, tmp_path, tmp_path_factory.mktemp("home"))
    result = program(ADDRESS)
    assert result.code == 0, result
    assert (tmp_path / result.stdout.strip()).read_bytes() == FILES["encoder.weights.h5"]
    assert "may have seen the images that this run holds out" in result.stderr
    assert program("imagenet").stdout == "imagenet\n"
    versions.append(Version(listed({"fold0/best.weights.h5": b"w"}), {}))
    assert "has no encoder.weights.h5" in program(ADDRESS).stderr
    program.close()


def test_a_folder_is_taken_as_it_is_and_a_published_one_is_checked(tmp_path):
    workspace = Workspace(tmp_path)
    folder = tmp_path / "some" / "model"
    for name, content in listed(FILES).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert find_run(str(folder), workspace) == folder
    (folder / "fold0" / "recipe.json").write_bytes(b"{ }")
    with pytest.raises(UserError, match=r"fold0/recipe\.json in .* is missing or not as"):
        find_run(str(folder), workspace)
    (folder / NAME).unlink()
    assert find_run(str(folder), workspace) == folder
    with pytest.raises(UserError, match="no folder"):
        find_run(str(tmp_path / "nothing"), workspace)


@pytest.mark.parametrize("kind", ["link", "storage"])
def test_weights_that_lead_to_a_file_of_the_users_are_refused(tmp_path, kind):
    model = build_echo(PLAIN)
    theirs, own = tmp_path / "theirs.weights.h5", tmp_path / "own.weights.h5"
    model.save_weights(own)
    model.save_weights(theirs)
    with h5py.File(theirs, "a") as file:
        names = []
        file.visititems(lambda name, part: names.append(name) if isinstance(part, h5py.Dataset) else None)
        for name in names:
            shape = file[name].shape
            del file[name]
            if kind == "link":
                file[name] = h5py.ExternalLink(own, name)
            else:
                file.create_dataset(name, shape, "float32", external=[(str(own), 0, 4)])
    with pytest.raises(UserError, match="do not fit"):
        load_weights(model, theirs)
    load_weights(model, own)
