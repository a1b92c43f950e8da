"""Tuning, predicting and submitting what several folds left, where they do not go together."""

import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pneumothorax.cli import main
from pneumothorax.data import rle
from pneumothorax.inference.decision import Decision, read_decision, write_decision
from pneumothorax.inference.predictions import read_predictions, write_predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES

SIDE = 32
LESION = np.zeros((1024, 1024), bool)
LESION[256:512, 256:512] = True


def make_fold(
    root, number, positives, negatives, *, size=SIDE, image_probability=None, recipe=RECIPES["smoke"]
):
    """Make a fold whose network finds every lesion, and nothing else."""
    folder = root / "runs" / "hand" / f"fold{number}"
    folder.mkdir(parents=True)
    (folder / "best.weights.h5").touch()
    (folder / "recipe.json").write_text(to_json(recipe))
    positive = np.arange(positives + negatives) < positives
    maps = np.zeros((len(positive), size, size), np.uint8)
    maps[positive, size // 4 : size // 2, size // 4 : size // 2] = 250
    studies = pd.DataFrame(
        {
            "ImageId": [f"i{number}{row}" for row in range(len(positive))],
            "EncodedPixels": np.where(positive, rle.encode(LESION), rle.EMPTY),
            "area": positive * LESION.sum(),
            "height": 1024,
            "width": 1024,
        }
    )
    if image_probability is not None:
        studies["image_probability"] = image_probability
    return write_predictions(folder / "out_of_fold", [maps], studies, size)


def tune(capsys, root):
    code = main(["tune", "hand", "--root", str(root)])
    out, err = capsys.readouterr()
    return code, out, [line for line in err.splitlines() if line.startswith("pneumothorax:")]


def test_folds_without_positives_alone_are_a_mistake(capsys, tmp_path):
    for number in range(2):
        make_fold(tmp_path, number, 0, 3)
    code, out, (line,) = tune(capsys, tmp_path)
    assert (code, out) == (2, "")
    assert "no image with a pneumothorax among 6 out of fold" in line
    assert not (tmp_path / "runs" / "hand" / "decision.json").exists()


def test_folds_without_negatives_are_warned_of(capsys, tmp_path):
    for number in range(2):
        make_fold(tmp_path, number, 3, 0)
    code, out, (line,) = tune(capsys, tmp_path)
    assert code == 0
    assert "no image without a pneumothorax: the rule cannot have learnt" in line
    assert "ROC AUC -, sensitivity 1.0000, specificity -" in out


def test_single_folds_of_one_kind_are_warned_of_by_name(capsys, tmp_path):
    for number, (positives, negatives) in enumerate([(2, 2), (0, 3), (0, 2), (2, 0), (1, 1)]):
        make_fold(tmp_path, number, positives, negatives)
    code, _, lines = tune(capsys, tmp_path)
    assert code == 0
    assert len(lines) == 2
    assert all(f"fold{number}" in lines[0] for number in (1, 2))
    assert "no image with a pneumothorax in" in lines[0]
    assert "fold3" in lines[1]
    assert "fold0" not in "".join(lines)


def test_folds_of_several_sizes_are_refused(capsys, tmp_path):
    make_fold(tmp_path, 0, 1, 1)
    make_fold(tmp_path, 1, 1, 1, size=64)
    code, _, (line,) = tune(capsys, tmp_path)
    assert code == 2
    assert "folds of 32 and 64 pixels in" in line
    assert "pneumothorax ensemble" in line


def test_folds_of_which_only_one_tells_a_image_probability_are_refused(capsys, tmp_path):
    make_fold(tmp_path, 0, 1, 1)
    make_fold(tmp_path, 1, 1, 1, image_probability=[0.9, 0.1])
    code, _, (line,) = tune(capsys, tmp_path)
    assert code == 2
    assert "fold0 without a classification head, and folds with one, in" in line


def test_folds_of_two_recipes_do_not_predict_together(capsys, tmp_path):
    make_fold(tmp_path, 0, 1, 1)
    make_fold(tmp_path, 1, 1, 1, recipe=replace(RECIPES["smoke"], size=96))
    assert main(["predict", "hand", "--root", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "fold1 was trained by another recipe than" in err
    assert "size 64 -> 96" in err


@pytest.fixture
def classified(tmp_path):
    """Return a root whose classification threshold empties one lesion, and a test set."""
    image_probability = [0.9, 0.3, 0.1, 0.2]
    part = make_fold(tmp_path, 0, 2, 2, image_probability=image_probability)
    write_predictions(
        tmp_path / "runs/hand/predictions/test", [np.array(part.probabilities)], part.studies, SIDE
    )
    write_decision(
        tmp_path / "runs/hand/decision.json", Decision(Rule(classification_threshold=0.5), score=0.8)
    )
    (tmp_path / "data/raw").mkdir(parents=True)
    rows = "".join(f"{name},-1\n" for name in part.studies["ImageId"])
    sample = tmp_path / "data/raw/stage_2_sample_submission.csv"
    sample.write_text("ImageId,EncodedPixels\n" + rows)
    return tmp_path


def submit(root, *words):
    csv = root / f"{len(list(root.glob('*.csv')))}.csv"
    code = main(["submit", "hand", "--write-only", "--out", str(csv), "--root", str(root), *words])
    return code, (pd.read_csv(csv, dtype=str)["EncodedPixels"] != "-1").tolist() if csv.exists() else None


def test_the_classification_threshold_is_submitted_by_and_a_flag_goes_before_it(capsys, classified):
    assert submit(classified) == (0, [True, False, False, False])
    assert "image-level probability 0.5 or more" in capsys.readouterr().out
    assert submit(classified, "--classification-threshold", "0") == (0, [True, True, False, False])
    assert submit(classified, "--classification-threshold", "0.95") == (0, [False] * 4)
    assert submit(classified, "--classification-threshold", "1.5") == (2, None)
    assert "classification_threshold 1.5; expected a probability" in capsys.readouterr().err


def test_a_classification_threshold_for_predictions_without_a_head_is_one_line_and_no_file(
    capsys, classified
):
    test = classified / "runs/hand/predictions/test"
    part = read_predictions(test)
    write_predictions(
        test, [np.array(part.probabilities)], part.studies.drop(columns="image_probability"), SIDE
    )
    assert submit(classified) == (2, None)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "classification threshold 0.5 for" in errors[0]
    assert "--classification-threshold 0" in errors[0]
    assert submit(classified, "--classification-threshold", "0") == (0, [True, True, False, False])


def test_tune_prints_the_classification_threshold_and_its_worth(capsys, tmp_path):
    part = make_fold(tmp_path, 0, 10, 10, image_probability=[0.9] * 10 + [0.1] * 10)
    full = np.tile(
        part.probabilities[:1], (20, 1, 1)
    )  # a lesion everywhere: only the image-level probability tells
    write_predictions(part.folder, [full], part.studies, SIDE)
    code, out, _ = tune(capsys, tmp_path)
    assert code == 0
    found = read_decision(tmp_path / "runs/hand/decision.json")
    assert found.rule.classification_threshold == 0.15
    assert found.score > found.without_classification_threshold + 0.3
    rows = dict(line.strip().rsplit("  ", 1) for line in out.splitlines()[1:])
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    plain = found.without_classification_threshold
    assert rows["without classification threshold"] == f"{plain:.4f}"
    assert rows["image by image"] == "ROC AUC 1.0000, sensitivity 1.0000, specificity 1.0000"


@pytest.mark.parametrize(
    ("words", "found", "remedy"),
    [
        (
            ["--threshold=0.9"],
            "the top threshold 0.4 of {path}, .* is below --threshold 0.9",
            "give --top-threshold 0.9 too",
        ),
        (
            ["--top-threshold=0.2"],
            "--top-threshold 0.2, .* is below the threshold 0.3 of {path}",
            "give another --top-threshold or --threshold",
        ),
        (
            ["--threshold=0.9", "--top-threshold=0.8"],
            "--top-threshold 0.8, .* is below --threshold 0.9",
            "give another --top-threshold",
        ),
        (["--threshold=1.5"], "threshold 1.5; expected a probability", ""),
    ],
)
def test_a_flag_that_does_not_go_with_the_rule_is_told_with_both_and_the_flag_to_give(
    capsys, classified, words, found, remedy
):
    path = classified / "runs/hand/decision.json"
    write_decision(path, Decision(Rule(0.3, 0.4, 100)))
    assert submit(classified, *words) == (2, None)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert re.search(found.format(path=re.escape(str(path))), line)
    assert remedy in line
    assert submit(classified, "--threshold=0.9", "--top-threshold=0.9")[0] == 0


def test_an_address_of_weights_in_a_notebook_is_one_line_with_the_way_out(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pneumothorax.hubs.fetching", None)  # as where it was left at home
    words = ["--recipe=smoke", "--encoder-weights=kaggle://me/model/keras/one/1", f"--root={tmp_path}"]
    assert main(["train", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "kaggle://me/model/keras/one/1 in a notebook" in line
    assert "Add Input, Models" in line
