"""Kaggle's inputs are found in both layouts, and missing ones are told with their cure."""

from pathlib import Path

import pytest

from pneumothorax import mounts
from pneumothorax.errors import UserError

COMPETITION, DATASET, NOTEBOOK = "siim-acr", "some-one/the-data", "me/train-fold0"
FINDERS = {
    COMPETITION: mounts.find_competition,
    DATASET: mounts.find_dataset,
    NOTEBOOK: mounts.find_notebook,
}
NEW = {
    COMPETITION: "competitions/siim-acr",
    DATASET: "datasets/some-one/the-data",
    NOTEBOOK: "notebooks/me/train-fold0",
}
OLD = {COMPETITION: "siim-acr", DATASET: "the-data", NOTEBOOK: "train-fold0"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "input"
    root.mkdir()
    monkeypatch.setenv("KAGGLE_INPUT_ROOT", str(root))
    return root


@pytest.mark.parametrize("layout", [NEW, OLD])
@pytest.mark.parametrize("name", [COMPETITION, DATASET, NOTEBOOK])
def test_an_input_is_found_in_either_layout(root, layout, name):
    for path in layout.values():
        (root / path / "folder").mkdir(parents=True)
    assert FINDERS[name](name) == root / layout[name]
    assert sorted(mounts.list_mounts()) == sorted(root / path for path in layout.values())


@pytest.mark.parametrize("name", [COMPETITION, DATASET, NOTEBOOK])
def test_the_newer_layout_goes_first(root, name):
    for path in (NEW[name], OLD[name]):
        (root / path).mkdir(parents=True)
    assert FINDERS[name](name) == root / NEW[name]


@pytest.mark.parametrize("finder", [mounts.find_dataset, mounts.find_notebook])
def test_a_version_is_no_part_of_the_place(root, finder):
    (root / "the-data").mkdir()
    assert finder("some-one/the-data/12") == root / "the-data"


@pytest.mark.parametrize(
    ("name", "field"),
    [(COMPETITION, "competition_sources"), (DATASET, "dataset_sources"), (NOTEBOOK, "kernel_sources")],
)
def test_a_missing_input_is_told_with_what_is_there_and_how_to_attach_it(root, name, field):
    (root / "datasets" / "a" / "b").mkdir(parents=True)
    (root / "models" / "a" / "m" / "keras" / "base" / "1").mkdir(parents=True)
    (root / "flat").mkdir()
    with pytest.raises(UserError) as error:
        FINDERS[name](name)
    text = str(error.value)
    assert (
        f"{name} is not mounted below {root} (mounted: datasets/a/b, flat, models/a/m/keras/base/1)" in text
    )
    assert NEW[name] in text
    assert '"Add Input"' in text
    assert f"{field} of kernel-metadata.json" in text


def test_another_owners_dataset_is_another_dataset(root):
    (root / "datasets" / "other" / "the-data").mkdir(parents=True)
    with pytest.raises(UserError, match="not mounted"):
        mounts.find_dataset(DATASET)


@pytest.mark.parametrize("exists", [True, False])
def test_without_inputs_nothing_is_mounted(root, exists):
    if not exists:
        root.rmdir()
    assert mounts.list_mounts() == []
    with pytest.raises(UserError, match="mounted: nothing"):
        mounts.find_competition(COMPETITION)


@pytest.mark.parametrize("name", ["", "the-data", "a/b/c", "../x", "a/..", "https://kaggle.com/a/b", "a b/c"])
def test_what_is_no_reference_is_refused(root, name):
    for finder in (mounts.find_dataset, mounts.find_notebook):
        with pytest.raises(UserError, match="owner/slug"):
            finder(name)


@pytest.mark.parametrize("slug", ["", "competitions/x", ".."])
def test_what_is_no_slug_is_refused(root, slug):
    with pytest.raises(UserError, match="a slug"):
        mounts.find_competition(slug)


def test_a_file_is_no_input(root):
    (root / "the-data").write_text("")
    with pytest.raises(UserError, match="mounted: nothing"):
        mounts.find_dataset(DATASET)


def test_the_folders_are_kaggles_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("KAGGLE_INPUT_ROOT", raising=False)
    monkeypatch.delenv("KAGGLE_WORKING_DIR", raising=False)
    assert mounts.input_root() == Path("/kaggle/input")
    assert mounts.working() == Path("/kaggle/working")


def test_a_model_is_found_in_either_layout_by_its_version_first(root):
    assert mounts.find_models("keras/xception/keras/base/2") == []
    places = [root / "models/keras/xception/keras/base/2", root / "xception/keras/base/1"]
    for path in places:
        path.mkdir(parents=True)
    assert mounts.find_models("keras/xception/keras/base/2") == places
    assert mounts.find_models("keras/xception/keras/other/2") == []


def test_files_are_found_near_the_top_of_each_input_alone(root):
    for path in ("datasets/a/b/x.h5", "datasets/a/b/in/x.h5", "datasets/a/b/in/deeper/x.h5", "old/x.h5"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    found = [path.relative_to(root).as_posix() for path in mounts.find_files("x.h5")]
    assert found == ["datasets/a/b/x.h5", "datasets/a/b/in/x.h5", "old/x.h5"]
