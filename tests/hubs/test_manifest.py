"""The list of a published model's files: strict, because somebody else may have written it."""

import json

import pytest

from pneumothorax.errors import UserError
from pneumothorax.hubs.manifest import (
    LONGEST_BYTES,
    NAME,
    File,
    Manifest,
    check_files,
    is_published,
    list_files,
    read_manifest,
    write_manifest,
)

ENTRY = {"sha256": "0" * 64, "bytes": 1}
WEIGHTS = "fold0/best.weights.h5"


def write(folder, files, **others):
    values = {"kind": "pneumothorax model 1", "run": "a", "source": "b", "files": files, **others}
    (folder / NAME).write_text(json.dumps(values))
    return folder / NAME


def test_reading_is_the_inverse_of_writing(tmp_path):
    manifest = Manifest("strong", "0a", {WEIGHTS: File("1" * 64, 3), "README.md": File("2" * 64, 0)})
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path / NAME) == manifest


@pytest.mark.parametrize(
    "name",
    [
        "../README.md",
        "/etc/passwd",
        "fold0/../../best.weights.h5",
        "fold0/state.npz",
        "fold00/recipe.json",
        "fold0/out_of_fold/studies.csv",
        "README.md\n",
        "image.png",
        "fold0\\recipe.json",
        ".git/config",
        NAME,
        "",
    ],
)
def test_a_list_can_name_no_other_file(tmp_path, name):
    assert not is_published(name)
    with pytest.raises(UserError, match="holds no model of `pneumothorax publish`"):
        read_manifest(write(tmp_path, {WEIGHTS: ENTRY, name: ENTRY}))


@pytest.mark.parametrize(
    ("files", "others"),
    [
        ({}, {}),
        ({"README.md": ENTRY}, {}),
        ({WEIGHTS: {"sha256": "xyz", "bytes": 1}}, {}),
        ({WEIGHTS: {"sha256": "0" * 64, "bytes": -1}}, {}),
        ({WEIGHTS: {"sha256": "0" * 64, "bytes": True}}, {}),
        ({WEIGHTS: {"sha256": "0" * 64, "bytes": 1 << 60}}, {}),
        ({WEIGHTS: None}, {}),
        ([], {}),
        ({WEIGHTS: ENTRY}, {"kind": "something else"}),
    ],
)
def test_a_damaged_list_is_one_line(tmp_path, files, others):
    with pytest.raises(UserError, match="holds no model") as caught:
        read_manifest(write(tmp_path, files, **others), "hf://me/name")
    assert str(caught.value).startswith("hf://me/name holds no model")


@pytest.mark.parametrize("content", [b"", b"[" * 5000, b"\xff", b"null", b" " * (LONGEST_BYTES + 1)])
def test_a_file_that_is_no_list_is_one_line(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match="holds no model"):
        read_manifest(tmp_path / NAME)


def test_missing_and_changed_files_are_named(tmp_path):
    (tmp_path / "fold0").mkdir()
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    (tmp_path / "README.md").write_bytes(b"card")
    manifest = Manifest("a", "b", list_files(tmp_path, [WEIGHTS, "README.md"]))
    assert check_files(tmp_path, manifest) == []
    (tmp_path / "README.md").write_bytes(b"Card")
    (tmp_path / WEIGHTS).unlink()
    assert check_files(tmp_path, manifest) == ["README.md", WEIGHTS]
