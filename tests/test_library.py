import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.training.conftest import put_small_network

import pneumothorax as ptx
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.predictions import read_predictions
from pneumothorax.inference.rule import Rule

README = Path(__file__).parents[1] / "README.md"
SIZE = 64


def make_images(count, size=100):
    """Make noise of which every other image has a bright square."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 60, (count, size, size), dtype=np.uint8)
    masks = np.zeros((count, size, size), bool)
    for row in range(0, count, 2):
        place = np.s_[row, 20 + row : 50 + row, 30:60]
        images[place], masks[place] = 230, True
    return images, masks


@pytest.fixture
def small_network(monkeypatch):
    put_small_network(monkeypatch)


@pytest.fixture
def recipe():
    changes = {"size": SIZE, "epochs": 2, "fold_count": 2, "batch_size": 4}
    return replace(ptx.RECIPES["smoke"], **changes, positive_rate=0.0, positive_rate_end=0.0)


def test_importing_the_library_loads_neither_keras_nor_numpy():
    code = (
        "import sys, pneumothorax as ptx; assert {'train', 'dice'} <= {*dir(ptx)}; "
        "assert not {'numpy', 'keras', 'tensorflow', 'jax'} & {*sys.modules}; "
        "ptx.RECIPES, ptx.rle, ptx.train; assert not {'keras', 'tensorflow', 'jax'} & {*sys.modules}"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.returncode == 0


def test_every_name_of_the_library_is_there_whatever_was_imported_before():
    import pneumothorax.metric
    import pneumothorax.segmentation.pipeline  # noqa: F401

    assert all(getattr(ptx, name) is not None for name in ptx.__all__)
    assert callable(ptx.segment)
    assert callable(ptx.dice)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ptx.nothing


def test_dice_is_the_competitions():
    half = np.zeros((4, 4), bool)
    half[:2] = True
    assert ptx.dice(half, half) == 1.0
    assert ptx.dice(half, ~half) == 0.0
    assert ptx.dice(np.zeros((4, 4)), np.zeros((4, 4))) == 1.0
    assert ptx.dice(half, np.zeros((4, 4))) == 0.0
    assert ptx.dice(half * 255, np.ones((4, 4))) == pytest.approx(2 * 8 / 24)
    with pytest.raises(ValueError, match="expected one shape"):
        ptx.dice(half, half[:2])


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_arrays_become_a_run_that_predicts_and_segments(recipe, tmp_path):
    images, masks = make_images(12)
    patients = [f"p{row // 2}" for row in range(12)]
    run = tmp_path / "mine"
    for fold in (0, 1):
        assert ptx.train(recipe, images, masks, run, fold=fold, patients=patients)
    before = (run / "fold0" / "history.csv").read_bytes()
    assert ptx.train(recipe, images, masks, run, patients=patients)  # is trained already
    assert (run / "fold0" / "history.csv").read_bytes() == before
    held_out = [read_predictions(run / f"fold{fold}" / "out_of_fold").studies for fold in (0, 1)]
    names = [name for part in held_out for name in part["ImageId"]]
    assert sorted(names) == [f"image{row:02d}" for row in range(12)]
    assert not {*held_out[0]["patient"]} & {*held_out[1]["patient"]}
    decision = ptx.tune(run)
    assert isinstance(decision, Decision)
    found = list(ptx.predict(run, images[:3]))
    assert [one.probabilities.shape for one in found] == [(SIZE, SIZE)] * 3
    lowest = Rule(0.0)
    wide = np.zeros((70, 130), np.uint8)
    (mask,) = ptx.segment(run, [wide], lowest)
    assert mask.shape == wide.shape
    assert mask.dtype == bool
    assert [one.shape for one in ptx.segment(run, images[:2])] == [(100, 100)] * 2
    with pytest.raises(UserError, match="other data"):
        ptx.train(recipe, images[::-1], masks[::-1], run, patients=patients)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, masks: (images[:3], masks), "3 images, 4 masks"),
        (lambda images, masks: (images[:0], masks[:0]), "at least one"),
        (lambda images, masks: (images, masks[:, :50]), "image 0 of shape"),
        (lambda images, masks: (images / 255, masks), "float64 of shape"),
        (lambda images, masks: (images[..., None], masks), "expected grey levels"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line_and_no_run(change, message, recipe, tmp_path):
    images, masks = change(*make_images(4))
    with pytest.raises(UserError, match=message):
        ptx.train(recipe, images, masks, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_run_that_is_not_there_is_one_line_before_the_first_image_is_asked_for(tmp_path):
    with pytest.raises(UserError):
        ptx.predict(tmp_path / "none", [np.zeros((8, 8), np.uint8)])
    with pytest.raises(UserError):
        ptx.segment(tmp_path / "none", [np.zeros((8, 8), np.uint8)])


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_the_example_of_the_readme_runs(recipe, tmp_path, monkeypatch, capsys):
    images, masks = make_images(12)
    monkeypatch.chdir(tmp_path)
    assert ptx.train(recipe, images, masks, "runs/strong")
    ptx.tune("runs/strong")
    Path("chest.png").write_bytes(cv2.imencode(".png", images[0])[1].tobytes())
    monkeypatch.setattr(ptx, "find_recipe", lambda name, **changes: recipe)
    text = README.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    given = {"images": images, "masks": masks, "patients": [str(row) for row in range(12)]}
    exec(example.replace("chest.dcm", "chest.png"), given)
    assert given["mask"].shape == images[0].shape
    assert Path("runs/mine/decision.json").is_file()
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == str(ptx.tune("runs/mine").rule)
