"""`kernels-deps`: wheels and weights -> a dataset of the user's own."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import USER, Dataset, StandIn
from tests.kaggle.standin_kit import Program

from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks import dependencies
from pneumothorax.model.encoders import attached_weights
from pneumothorax.model.encoders import weights as encoder_weights
from pneumothorax.model.encoders.weights import Origin, find_weights
from pneumothorax.recipe import Recipe

pytestmark = pytest.mark.slow

NAME = f"{USER}/pneumothorax-deps"
WHEELS = tuple(
    f"{package.replace('-', '_').replace('==', '-')}-py3-none-any.whl" for package in dependencies.PACKAGES
)
REST = (*WHEELS[:3], *WHEELS[4:])  # all but segmentation-models
WEIGHTS = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
needs_wheel = pytest.mark.skipif(
    find_spec(encoder_weights.LITE_PACKAGE) is None, reason="the extra 'lite' is not installed"
)
QUICK = ("--tries", "1", "--timeout", "300")


def make_wheels(folder: Path, names: tuple[str, ...] = WHEELS) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode() * 100)
    return folder


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    return make_wheels(tmp_path / "wheels")


def write_weights(path: Path, arrays: int = 5) -> Path:
    """Write a file of so many small arrays, laid out as Keras saves weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for number in range(arrays):
            file[f"layers/dense_{number}/vars/0"] = np.zeros(2, np.float32)
    return path


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return tmp_path / "build" / "kernels" / dependencies.SLUG


# The folder


def test_the_folder_holds_wheels_and_weights_and_nothing_else(wheels: Path, build: Path) -> None:
    weights = write_weights(wheels / WEIGHTS)
    (wheels / "notes.txt").touch()
    build.mkdir(parents=True)
    (build / "old.whl").touch()
    assert dependencies.build(build, wheels, [weights]) == sorted([*WHEELS, WEIGHTS])
    assert sorted(read_tree(build)) == sorted([*WHEELS, WEIGHTS])
    assert list(build.parent.iterdir()) == [build]


def test_wheels_that_lie_in_the_very_folder_survive(wheels: Path, build: Path) -> None:
    dependencies.build(build, wheels)
    before = read_tree(build)
    dependencies.build(build, build)
    assert read_tree(build) == before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            WHEELS[1:],
            r"no wheel for keras-applications==1\.0\.8 in .*wheels; expected keras_applications-1\.0",
        ),
        ((), "no wheel for .*put it there, or leave --wheels out"),
        ((WHEELS[0].replace("1.0.8", "1.0.7"), *WHEELS[1:]), "no wheel for keras-applications==1"),
        (
            (
                *WHEELS[:3],
                *WHEELS[4:],
                WHEELS[3].replace("py3-none-any", "cp312-cp312-manylinux_2_28_x86_64"),
            ),
            "segmentation_models-1.0.1-cp312-.* for segmentation-models==1.0.1",
        ),
        ((*REST, WHEELS[3].replace("py3", "py2")), "py2-none-any.whl for segmentation"),
        (
            (*REST, WHEELS[3].replace("-any", "-win_amd64")),
            "win_amd64.whl for segmentation",
        ),
    ],
)
def test_a_wheel_that_is_missing_or_not_for_every_machine_is_refused_and_the_old_folder_kept(
    tmp_path: Path, build: Path, names: tuple[str, ...], message: str
) -> None:
    build.mkdir(parents=True)
    (build / "old.whl").touch()
    with pytest.raises(UserError, match=message):
        dependencies.build(build, make_wheels(tmp_path / "wheels", names))
    assert list(read_tree(build.parent)) == [f"{build.name}/old.whl"]


@pytest.mark.parametrize(
    "name", ["Keras_Applications-1.0.8-py2.py3-none-any.whl", WHEELS[0].upper()[:-15] + "py3-none-any.whl"]
)
def test_the_names_that_authors_give_their_wheels_are_known(tmp_path: Path, build: Path, name: str) -> None:
    folder = make_wheels(tmp_path / "wheels", (name.replace("-py3-py3", "-py3"), *WHEELS[1:]))
    assert name in dependencies.build(build, folder)


@pytest.mark.parametrize(
    ("name", "arrays", "carried"),
    [
        (WEIGHTS, 5, WEIGHTS),
        ("resnet18_imagenet_1000_no_top.h5", 5, "resnet18_imagenet_1000_no_top.h5"),
        ("resnet34.weights.h5", 5, "resnet34.weights.h5"),
        ("model.weights.h5", 234, "xception.weights.h5"),
        ("xception_41_imagenet/2/model.weights.h5", 234, "xception.weights.h5"),
        ("mine/resnet34.weights.h5", 5, "resnet34.weights.h5"),
    ],
)
def test_weights_of_every_kind_are_carried_under_the_name_that_a_session_finds(
    wheels: Path, build: Path, name: str, arrays: int, carried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_weights(wheels.parent / name, arrays)
    given = weights.parent if "/" in name else weights
    assert dependencies.build(build, wheels, [given]) == sorted([*WHEELS, carried])
    assert (build / carried).read_bytes() == weights.read_bytes()
    mounted = wheels.parent / "input" / "datasets" / "me" / "pneumothorax-deps"
    shutil.copytree(build, mounted)
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(wheels.parent / "input"))
    monkeypatch.setenv("KERAS_HOME", str(wheels.parent / "keras"))
    encoder = carried.split("_")[0].split(".")[0]
    assert find_weights(Recipe(encoder=encoder)) == Origin("attached input", mounted / carried)


@needs_wheel
@pytest.mark.parametrize("folder", [False, True])
def test_the_file_of_lite0_is_carried(
    wheels: Path, build: Path, folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite = Recipe(encoder="efficientnetlite0")
    weights = find_weights(lite).path
    copied = Path(shutil.copy(weights, wheels.parent / "renamed.pth"))
    given = weights.parent if folder else copied
    assert encoder_weights.LITE_FILE in dependencies.build(build, wheels, [given])
    mounted = wheels.parent / "input" / "deps"
    shutil.copytree(build, mounted)
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(wheels.parent / "input"))
    monkeypatch.setattr(encoder_weights, "find_spec", lambda name: None)
    assert find_weights(lite) == Origin("attached input", mounted / encoder_weights.LITE_FILE)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (WEIGHTS, None, "no weights file .*expected a file, or a folder that holds one"),
        ("lite.pth", b"\x80\x02", "is a Python pickle, which could run code"),
        ("weights.keras", b"PK\x03\x04", "is a zip archive"),
        (WEIGHTS, b"\x89HDF\r\n\x1a\n and no more", "is damaged or cut off"),
        ("best.weights.h5", 7, "7 arrays of an unknown encoder.*rename it ENCODER.weights.h5"),
        ("resnet18_imagenet_1000.h5", 7, "7 arrays of an unknown encoder"),
        ("model.weights.h5", 233, "233 arrays of an unknown encoder.*keras/xception/keras/xception_41"),
        ("empty/notes.txt", b"", "no files of weights in .*there: notes.txt"),
    ],
)
def test_other_weights_are_refused_in_one_line(
    wheels: Path, build: Path, name: str, content: bytes | int | None, message: str
) -> None:
    path = wheels.parent / name
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, int):
        write_weights(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        dependencies.build(build, wheels, [path.parent if "/" in name else path])
    assert "\n" not in str(caught.value)
    assert not build.exists()


def test_two_files_for_one_encoder_are_refused(wheels: Path, build: Path) -> None:
    files = [write_weights(wheels.parent / name / "resnet18.weights.h5") for name in ("a", "b")]
    with pytest.raises(UserError, match=r"both for resnet18\.weights\.h5; expected one file for"):
        dependencies.build(build, wheels, files)


def test_every_encoder_of_the_library_is_known() -> None:
    from pneumothorax.model.encoders.table import encoder_names

    assert sorted(attached_weights.ENCODERS) == sorted(encoder_names())


# The dataset


def test_the_dataset_is_made_and_then_given_a_next_version(
    kit: Program, standin: StandIn, wheels: Path
) -> None:
    first = kit("kernels-deps", "--wheels", wheels, *QUICK)
    assert first.code == 0, first.stderr
    assert first.stdout.endswith(f"{NAME} is ready; `pneumothorax push --no-internet` attaches it\n")
    made = standin.datasets[NAME]
    assert made.versions[0].files == read_tree(wheels)
    request = made.versions[0].request
    assert (request["title"], request["isPrivate"], request["licenseName"]) == (
        "Pneumothorax deps",
        True,
        "other",
    )
    assert standin.calls("GetDatasetStatus")[0].status == 404
    made.statuses = ("READY",)
    made.steps.names, made.steps.asked = ("READY",), 0
    second = kit("kernels-deps", "--wheels", wheels, *QUICK)
    assert second.code == 0, second.stderr
    assert [version.files for version in made.versions] == [read_tree(wheels)] * 2
    assert made.versions[1].request["body"]["versionNotes"] == ", ".join(dependencies.PACKAGES)


def test_weights_are_uploaded_under_the_names_that_a_session_finds(
    kit: Program, standin: StandIn, wheels: Path, tmp_path: Path
) -> None:
    model = write_weights(tmp_path / "xception_41_imagenet" / "2" / "model.weights.h5", 234).parent
    result = kit("kernels-deps", "--wheels", wheels, "--weights", model, *QUICK)
    assert result.code == 0, result.stderr
    uploaded = standin.datasets[NAME].versions[0].files
    assert sorted(uploaded) == sorted([*WHEELS, "xception.weights.h5"])
    assert uploaded["xception.weights.h5"] == (model / "model.weights.h5").read_bytes()


def test_weights_that_no_session_could_load_are_refused_before_any_request(
    kit: Program, standin: StandIn, wheels: Path, tmp_path: Path
) -> None:
    path = tmp_path / "resnet34.weights.h5"
    path.write_bytes(b"PK\x03\x04")
    result = kit("kernels-deps", "--wheels", wheels, "--weights", path)
    assert_refused(result, "is a zip archive")
    assert standin.requests == []


@pytest.mark.parametrize(
    ("where", "fault", "told"),
    [
        (
            "PUT storage segmentation",
            {"status": 403},
            "could not upload segmentation_models-1.0.1-py3-none-any.whl",
        ),
        ("CreateDataset", {"status": 400, "body": {"code": 400, "message": "No phone"}}, "400 No phone"),
        (
            "CreateDataset",
            {"status": 200, "body": {"status": "error", "error": "The title is in use."}},
            f"Kaggle refused the dataset {NAME}: The title is in use.",
        ),
    ],
)
def test_a_refusal_leaves_no_dataset_and_no_incomplete_one(
    kit: Program, standin: StandIn, wheels: Path, where: str, fault: dict, told: str
) -> None:
    standin.fail(where, **fault)
    result = kit("kernels-deps", "--wheels", wheels, *QUICK)
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert told in result.stderr.splitlines()[-1]
    assert NAME not in standin.datasets


def test_a_dataset_that_kaggle_cannot_prepare_is_an_error(
    kit: Program, standin: StandIn, wheels: Path
) -> None:
    standin.datasets[NAME] = Dataset(statuses=("FAILED",))
    standin.fail("PUT storage", status=503)  # one upload is tried again
    result = kit("kernels-deps", "--wheels", wheels, "--tries", "2")
    assert result.code == 2
    assert f"{NAME} is failed; expected ready; see https://www.kaggle.com/datasets/{NAME}" in result.stderr
    assert len(standin.datasets[NAME].versions) == 1


def test_wheels_are_refused_before_any_request(kit: Program, standin: StandIn) -> None:
    result = kit("kernels-deps", "--wheels", "nowhere")
    assert_refused(result, "no wheel for", "in nowhere")
    offline = kit("kernels-deps", environment={"PIP_NO_INDEX": "1"})
    assert_refused(offline, "pip cannot download the wheels (ERROR: No matching", "--wheels FOLDER")
    assert standin.requests == []
    assert read_tree(kit.workspace) == {}
