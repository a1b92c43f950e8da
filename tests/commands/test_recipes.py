from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pneumothorax.cli import main
from pneumothorax.commands.recipes import pick_rows
from pneumothorax.data.cache import Cache
from pneumothorax.recipes import RECIPES
from pneumothorax.report import augmentations
from pneumothorax.training.augmentation_preview import View
from pneumothorax.workspace import Workspace

SMOKE = RECIPES["smoke"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    folder = Workspace(tmp_path).cache(SMOKE.size, SMOKE.interpolation, "train")
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (9, SMOKE.size, SMOKE.size), dtype=np.uint8)
    masks = np.zeros_like(images)
    masks[::3, 20:40, 10:20] = 255
    studies = pd.DataFrame({"ImageId": [f"i{row}" for row in range(9)], "area": masks.sum(axis=(1, 2))})
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    studies.to_csv(folder / "studies.csv", index=False)
    (folder / "cache.json").write_text("{}")
    return tmp_path


@pytest.fixture
def sheets(monkeypatch):
    """What is drawn on the sheets."""
    drawn = []
    monkeypatch.setattr(augmentations, "draw_sheet", lambda *sheet: drawn.append(sheet))
    return drawn


def run(root, *words):
    return main(["augmentations", "--root", str(root), *words])


@pytest.mark.slow
def test_the_sheet_is_a_picture_below_figures(capsys, root):
    assert run(root, "--recipe", "smoke", "--count", "2") == 0
    path = root / "figures" / "augmentations-smoke.png"
    assert capsys.readouterr().out == f"{path}\n"
    assert min(cv2.imread(str(path)).shape[:2]) > 400


def test_studies_come_first_and_then_each_part_alone(root, sheets):
    assert run(root, "--recipe", "smoke", "--gamma", "0.2", "--tone-share", "0.3", "--count", "3") == 0
    [(rows, title, _)] = sheets
    assert [name for name, _ in rows] == ["pneumothorax"] * 2 + ["no pneumothorax"] + ["one part alone"]
    assert [len(tiles) for _, tiles in rows] == [8] * 4
    captions = [caption for caption, _ in rows[-1][1]]
    assert captions[:4] == ["as it is", "flip", "rotation degrees 5", "rotation degrees 5"]
    assert "gamma 0.2" in captions
    assert "100% of the images: rotation degrees 5, shift 0.05" in title
    assert "30% of the images: gamma 0.2" in title
    assert rows[0][1][1][0].endswith("% of the mask")
    assert rows[2][1][1][0] == ""


def test_images_can_be_named(root, sheets, tmp_path):
    out = tmp_path / "here.png"
    assert run(root, "--recipe", "smoke", "--images", "i4", "i3", "--out", str(out)) == 0
    [(rows, _, path)] = sheets
    assert [tiles[0][0] for _, tiles in rows[:2]] == ["i4", "i3"]
    assert path == out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "recipe 'seed', which augments nothing"),
        (["--recipe", "smoke", "--size", "96"], "run `pneumothorax prepare --recipe smoke --size 96"),
        (["--recipe", "smoke", "--images", "i99"], "no image 'i99'"),
    ],
)
def test_a_mistake_is_one_line(capsys, root, words, message):
    assert run(root, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (root / "figures").exists()


@pytest.mark.parametrize(
    ("positives", "count", "positives_only", "expected"),
    [
        (6, 6, False, (4, 2)),
        (6, 6, True, (6, 0)),
        (1, 4, False, (1, 3)),
        (9, 6, False, (6, 0)),
        (2, 99, False, (2, 7)),
    ],
)
def test_positives_and_negatives_are_shown(positives, count, positives_only, expected):
    studies = pd.DataFrame({"area": [1] * positives + [0] * (9 - positives)})
    rows = pick_rows(
        Cache(Path(), np.empty(0, np.uint8), np.empty(0, np.uint8), studies),
        count,
        positives_only=positives_only,
        seed=0,
    )
    shown = studies["area"].iloc[rows]
    assert len(set(rows.tolist())) == len(rows)
    assert ((shown > 0).sum(), (shown == 0).sum()) == expected


def test_a_mask_is_outlined_on_each_tile(sheets):
    image, mask = np.full((32, 32), 90, np.uint8), np.zeros((32, 32), np.float32)
    mask[8:20, 8:20] = 1
    view = View(image, mask)
    augmentations.draw_augmentations(SMOKE, {"one": (view, [view])}, {"flip": [view]}, Path("sheet.png"))
    [(rows, _, _)] = sheets
    for _, tiles in rows:
        for _, pixels in tiles:
            assert (pixels == (255, 176, 0)).all(axis=2).any()
