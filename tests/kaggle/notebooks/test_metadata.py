"""kernel-metadata.json: every rule of Kaggle's, and what a push fills in."""

import json
from pathlib import Path

import pytest
from slugify import slugify

from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks import metadata

KERNELS = sorted(
    path.parent for path in (Path(__file__).parents[3] / "kernels").glob("*/kernel-metadata.json")
)
GOOD = {
    "id": "OWNER/some-kernel",
    "title": "Some kernel",
    "code_file": "own.ipynb",
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_internet": False,
}


@pytest.fixture
def folder(tmp_path):
    for name in ("own.ipynb", "own.py"):
        (tmp_path / name).write_text("")
    return tmp_path


def refusal(values, folder):
    with pytest.raises(UserError) as error:
        metadata.check(values, folder)
    assert str(folder / "kernel-metadata.json") in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_the_repositorys_metadata_are_good_and_name_no_user(folder):
    values = metadata.read(folder)
    metadata.check(values, folder)
    assert values["id"] == f"OWNER/pneumothorax-{folder.name}"
    assert values["is_private"] is True
    assert values["competition_sources"] == ["siim-acr-pneumothorax-segmentation"]


def test_three_kernels_are_in_the_repository():
    assert [folder.name for folder in KERNELS] == ["explore", "submit", "train"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"id": "some_User-1/some-kernel"},
        {"machine_shape": "NvidiaTeslaT4"},
        {"machine_shape": "", "enable_gpu": False},
        {"enable_gpu": False, "enable_tpu": True, "machine_shape": "TpuV6E8"},
        {"kernel_type": "script", "code_file": "own.py"},
        {"title": "Äußerst gut: 1st try!", "id": "OWNER/ausserst-gut-1st-try"},
        {"dataset_sources": ["a/b", "a-1/b_2/3"], "kernel_sources": ["OWNER/b", "a/b/12"]},
        {"competition_sources": ["siim-acr"], "model_sources": ["a/b/keras/base-1.5/2"]},
        {"keywords": ["gpu"], "docker_image_pinning_type": "original", "docker_image": "gcr.io/x@sha256:0"},
    ],
)
def test_what_kaggle_takes_is_taken(folder, changes):
    metadata.check(GOOD | changes, folder)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "some-kernel", "OWNER/slug or your-name/slug"),
        ("id", "a/some-kernel/3", "without a version"),
        ("id", "a/Some-Kernel", "OWNER/slug"),
        ("id", "/some-kernel", "OWNER/slug"),
        ("id", 7, "OWNER/slug"),
        ("id", "a/abcd", "a slug of 5 to 50 characters"),
        ("id", "a/" + "x" * 51, "a slug of 5 to 50 characters"),
        ("id", "a/other-kernel", "the slug of its title, 'some-kernel'"),
        ("title", "Some", "text of 5 to 50 characters"),
        ("title", "x" * 51, "text of 5 to 50 characters"),
        ("title", None, "text of 5 to 50 characters"),
        ("title", "Some other", "the slug of its title, 'some-other'"),
        ("code_file", "missing.ipynb", "run `make kernels`"),
        ("code_file", "own.py", "a notebook, ending in .ipynb"),
        ("code_file", "../own.ipynb", "the name of one file"),
        ("code_file", 1, "the name of one file"),
        ("language", "julia", "python or r or rmarkdown"),
        ("kernel_type", "Notebook", "notebook or script"),
        ("kernel_type", ["notebook"], "notebook or script"),
        ("is_private", "true", "true or false, without quotes"),
        ("is_private", 1, "true or false"),
        ("enable_gpu", "false", "true or false"),
        ("enable_tpu", None, "true or false"),
        ("enable_tpu", True, "false where enable_gpu is true"),
        ("enable_internet", "", "true or false"),
        ("machine_shape", 4, "text"),
        ("machine_shape", "NvidiaTeslaP100", "expected NvidiaTeslaT4; Kaggle has retired this machine"),
        ("machine_shape", "TpuV38", "TpuV5E8"),
        ("machine_shape", "Tpu1VmV38", "TpuV5E8"),
        ("machine_shape", "TpuV232", "retired"),
        ("machine_shape", "TpuV2256", "retired"),
        ("machine_shape", "TpuV6E8", "none, or enable_tpu true"),
        ("dataset_sources", "a/b", "a list of texts"),
        ("dataset_sources", [1], "a list of texts"),
        ("dataset_sources", ["b"], "owner/slug or owner/slug/version"),
        ("dataset_sources", ["a/b/v3"], "owner/slug or owner/slug/version"),
        ("dataset_sources", ["a/b", "a/b"], "each once"),
        ("dataset_sources", ["https://www.kaggle.com/datasets/a/b"], "owner/slug"),
        ("competition_sources", ["c/siim-acr"], "slug, as in the page's address"),
        ("competition_sources", ["competitions/siim-acr"], "slug"),
        ("kernel_sources", ["train"], "owner/slug"),
        ("model_sources", ["a/b/keras/base"], "owner/model/framework/variation/version"),
        ("model_sources", ["a/b/keras/base/new"], "owner/model/framework/variation/version"),
        ("keywords", "gpu", "a list of texts"),
        ("docker_image_pinning_type", "newest", "original or latest"),
        ("docker_image", [], "text"),
    ],
)
def test_what_kaggle_would_stumble_over_is_refused(folder, field, value, expected):
    text = refusal(GOOD | {field: value}, folder)
    assert expected in text
    if "the slug of its title" not in expected:
        assert f"{field} {json.dumps(value)}" in text


@pytest.mark.parametrize(
    "pin", [{"docker_image": "gcr.io/x@sha256:0"}, {"docker_image_pinning_type": "original"}]
)
def test_an_image_pin_together_with_a_tpu_is_refused_with_the_reason(pin, folder):
    tpu = GOOD | {"enable_gpu": False, "enable_tpu": True, "machine_shape": "TpuV5E8"}
    text = refusal(tpu | pin, folder)
    assert f"{next(iter(pin))} " in text
    assert "expected no image pin together with enable_tpu; a pinned image overrides the TPU" in text
    metadata.check(metadata.choose_machine(GOOD | pin, "tpu"), folder)


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_the_repositorys_notebooks_may_be_pushed_to_any_machine(folder):
    values = metadata.read(folder)
    for accelerator, machine in {
        "gpu": (values["enable_gpu"], False, values.get("machine_shape")),
        "tpu": (False, True, "TpuV5E8"),
        "cpu": (False, False, None),
    }.items():
        chosen = metadata.choose_machine(values, accelerator)
        metadata.check(chosen, folder)
        found = (chosen["enable_gpu"], chosen["enable_tpu"], chosen.get("machine_shape"))
        assert found == machine


def test_a_gpu_that_is_not_switched_on_is_refused(folder):
    text = refusal(GOOD | {"enable_gpu": False, "machine_shape": "NvidiaTeslaT4"}, folder)
    assert "none, or enable_gpu true" in text


@pytest.mark.parametrize("field", ["id", "title", "code_file", "language", "is_private", "enable_internet"])
def test_what_kaggle_would_guess_must_be_written(folder, field):
    values = dict(GOOD)
    del values[field]
    assert f"no {field}" in refusal(values, folder)


@pytest.mark.parametrize("field", ["enable_intenet", "gpu", "id_no", "is_Private"])
def test_unknown_fields_are_refused(folder, field):
    assert f"unknown field {field}" in refusal(GOOD | {field: True}, folder)


def test_files_that_are_no_metadata_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no .*kernel-metadata\.json"):
        metadata.read(tmp_path)
    for text, expected in (("{", "not JSON"), ("[]", "a list; expected a JSON object"), ("\xff", "not JSON")):
        (tmp_path / "kernel-metadata.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=expected):
            metadata.read(tmp_path)


# Completed for a push


def test_the_owner_takes_the_place_of_the_placeholder_everywhere(folder):
    values = GOOD | {
        "kernel_sources": ["OWNER/one", "OWNERS/two"],
        "dataset_sources": ["OWNER/three", "a/four"],
    }
    before = json.dumps(values)
    done = metadata.complete(values, owner="me")
    metadata.check(done, folder)
    assert done["id"] == "me/some-kernel"
    assert done["kernel_sources"] == ["me/one", "OWNERS/two"]
    assert done["dataset_sources"] == ["me/three", "a/four"]
    assert json.dumps(values) == before
    assert done["enable_internet"] is False


@pytest.mark.parametrize("suffix", ["fold0", "-fold0", "fold0-of-5"])
def test_a_suffix_goes_to_title_and_slug_alike(folder, suffix):
    done = metadata.complete(GOOD, owner="me", slug_suffix=suffix)
    metadata.check(done, folder)
    assert done["id"] == f"me/some-kernel-{suffix.removeprefix('-')}"
    assert done["id"].partition("/")[2] == slugify(done["title"])


def test_sources_are_added_but_notebooks_take_the_place_of_the_files(folder):
    values = GOOD | {
        "dataset_sources": ["a/b"],
        "kernel_sources": ["OWNER/train"],
        "model_sources": ["a/m/keras/x/1"],
    }
    done = metadata.complete(
        values,
        owner="me",
        dataset_sources=["a/b", "OWNER/wheels"],
        kernel_sources=["me/train-fold0", "me/train-fold1"],
        internet=True,
    )
    metadata.check(done, folder)
    assert done["dataset_sources"] == ["a/b", "me/wheels"]
    assert done["kernel_sources"] == ["me/train-fold0", "me/train-fold1"]
    assert done["model_sources"] == ["a/m/keras/x/1"]
    assert done["enable_internet"] is True


def test_a_suffix_that_makes_the_title_too_long_is_found_by_the_check(folder):
    done = metadata.complete(GOOD, owner="me", slug_suffix="x" * 50)
    assert "text of 5 to 50 characters" in refusal(done, folder)
