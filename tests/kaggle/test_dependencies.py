"""`kernels-deps`: wheels and weights -> a dataset of the user's own."""

from pathlib import Path

import pytest
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import USER, Dataset, StandIn
from tests.kaggle.standin_kit import Program

from pneumothorax.errors import UserError
from pneumothorax.kaggle import dependencies
from pneumothorax.kaggle.session import LIBRARY

NAME = f"{USER}/pneumothorax-deps"
WHEELS = tuple(
    f"{package.replace('-', '_').replace('==', '-')}-py3-none-any.whl" for package in LIBRARY.values()
)
WEIGHTS = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
QUICK = ("--tries", "1", "--timeout", "300")


def make_wheels(folder: Path, names: tuple[str, ...] = WHEELS) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode() * 100)
    return folder


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    return make_wheels(tmp_path / "wheels")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return tmp_path / "build" / "kernels" / dependencies.SLUG


# The folder


def test_the_folder_holds_wheels_and_weights_and_nothing_else(wheels: Path, build: Path) -> None:
    weights = wheels / WEIGHTS
    weights.write_bytes(b"weights")
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
            (*WHEELS[:3], WHEELS[3].replace("py3-none-any", "cp312-cp312-manylinux_2_28_x86_64")),
            "segmentation_models-1.0.1-cp312-.* for segmentation-models==1.0.1",
        ),
        ((*WHEELS[:3], WHEELS[3].replace("py3", "py2")), "py2-none-any.whl for segmentation"),
        ((*WHEELS[:3], WHEELS[3].replace("-any", "-win_amd64")), "win_amd64.whl for segmentation"),
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
    "name", ["missing_notop.h5", "weights_notop.keras", "xception_weights.h5", "notop.h5"]
)
def test_weights_must_be_named_as_keras_names_them(wheels: Path, build: Path, name: str) -> None:
    path = wheels / name
    if not name.startswith("missing"):
        path.touch()
    if name == "notop.h5":
        assert name in dependencies.build(build, wheels, [path])
        return
    with pytest.raises(
        UserError, match=rf"{name}( as ImageNet weights)?; expected a file named as Keras does"
    ):
        dependencies.build(build, wheels, [path])
    assert not build.exists()


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
    assert made.versions[1].request["body"]["versionNotes"] == ", ".join(LIBRARY.values())


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
