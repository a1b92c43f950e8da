"""The bench of real radiographs, on artificial ones."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tests import forks
from tests.report.runs import make_run

import real
import trials
from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import read_predictions
from pneumothorax.inference.tuning import tune_images
from pneumothorax.metric import dice
from pneumothorax.recipes import RECIPES
from trials import Trial

ROWS = [
    Trial("near", "the first", "smoke"),
    Trial("far", "the second", "smoke", base="near"),
    Trial("never", "never trained", "smoke", on_request=True),
]


def finish(root, name, **options):
    """Make the fold of a row by hand, as training leaves it."""
    run = make_run(root, name, number=10, **options)
    (run / "fold0" / "scores.json").write_text("{}")
    return run / "fold0"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two trained rows, and the labels of their images."""
    root = tmp_path_factory.mktemp("real")
    fold = finish(root, "near", shift=1, image_probability=True)
    finish(root, "far", shift=5)
    table = pd.read_csv(fold / "out_of_fold" / "studies.csv")
    names = [Path(path).stem for path in table["path"]]
    table.assign(ImageId=names)[["ImageId", "EncodedPixels"]].to_csv(root / "labels.csv", index=False)
    return root


def arguments(root, *more):
    return [
        "--images",
        str(root / "images"),
        "--labels",
        str(root / "labels.csv"),
        "--root",
        str(root),
        *more,
    ]


@pytest.fixture
def commands(monkeypatch):
    """The commands that would have been run."""
    seen = []
    monkeypatch.setattr(real, "run_command", lambda root, *words: seen.append(words))
    return seen


def cells_of(table):
    """Return the cells of each row, by its text."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
def test_the_table_holds_what_each_trained_row_reached_on_the_same_images(made, commands, capsys):
    page = made / "page.md"
    page.write_text(f"before\n{real.MARK}\nreplaced\n{real.MARK}\nafter\n")
    assert real.main(arguments(made, "--write", str(page)), ROWS) == 0
    assert commands == []
    text = page.read_text()
    assert re.fullmatch(f"before\n{real.MARK}\n[^<]*{real.MARK}\nafter\n", text)
    assert "replaced" not in text
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] in text
    rows = cells_of(text)
    assert list(rows)[2:] == ["all-empty", "the first", "the second"]
    assert "another model's masks" in next(iter(rows))
    parts = [read_predictions(made / "runs" / name / "fold0" / "out_of_fold") for name in ("near", "far")]
    tuned = [tune_images([part]) for part in parts]
    for name, one in zip(("the first", "the second"), tuned, strict=True):
        cells = rows[name]
        assert cells[1] == "3.0"  # 60, 61 and 62 s
        assert cells[4].startswith(f"{one.each.mean():.3f} [")
        assert cells[5].startswith(f"{(one.each - ~one.positive).mean():+.3f} [")
        assert cells[6].startswith(f"{one.each[one.positive].mean():.3f} [")
        assert cells[8].startswith(f"{one.decision.specificity:.3f} [")
    assert rows["the first"][2].startswith(f"{tuned[0].decision.auc:.3f} [")
    assert rows["the second"][2] == "-"  # no head
    assert rows["the second"][3].startswith(f"{tuned[1].decision.auc:.3f} [")
    assert rows["the first"][-1] == "-"
    difference = (tuned[1].each - tuned[0].each).mean()
    assert rows["the second"][-1].startswith(f"{difference:+.3f} [")
    assert rows["the second"][-1].endswith("(the first)")
    assert "2 x test, keras 3.15.1" in text
    for name in ("near", "far"):
        assert cv2.imread(str(made / "overlays" / f"{name}.png")).std() > 5


@pytest.mark.slow
def test_the_best_cut_is_the_one_that_gives_positives_the_highest_dice(made):
    fold = real.fold_of(real.parse(arguments(made), ROWS), ROWS[0])
    result = real.measure(ROWS[0], fold)
    part = read_predictions(fold.out_of_fold)
    means = {}
    for cut in np.arange(5, 100, 5) / 100:
        each = []
        for row in np.flatnonzero(part.studies["area"] > 0):
            full = cv2.resize(part.probabilities[row].astype(np.float32), (1024, 1024)) > cut * 255
            truth = rle.decode(part.studies["EncodedPixels"].iloc[row]).astype(bool)
            each.append(dice(*(np.array([mask.sum()]) for mask in (full & truth, truth, full)))[0])
        means[cut] = np.mean(each)
    assert result.at_best_cut.mean() == pytest.approx(max(means.values()))
    assert means[result.cut] == max(means.values())


@pytest.mark.slow
def test_images_seen_follow_the_sliding_positive_rate(tmp_path):
    fold = finish(tmp_path, "slides", recipe=RECIPES["strong"])
    result = real.measure(Trial("slides", "", "strong"), real.FoldFolder(fold))
    # 20 positives of 80 images; three epochs of 40 from a share of .8 on, down to .25
    rates = [0.8 - 0.55 * epoch / 39 for epoch in range(3)]
    assert result.seen == sum(20 + round(20 * (1 - rate) / rate) for rate in rates)


def test_rows_are_prepared_once_and_trained_by_their_flags(made, commands, tmp_path):
    fields = {"size": 32, "flip": False, "decoder_filters": (8, 8, 8, 8, 8)}
    rows = [Trial("one", "", "smoke", fields), Trial("two", "", "smoke", fields), ROWS[2]]
    options = arguments(made, "--root", str(tmp_path))
    assert real.main(options, rows) == 0
    assert [words[0] for words in commands] == ["prepare", "train", "train"]
    prepare, train, _ = commands
    assert {f"--raw={made / 'images'}", f"--annotations={made / 'labels.csv'}"} < set(prepare)
    assert {"--recipe=smoke", "--size=32"} < set(prepare)
    assert {"--recipe=smoke", "--run=one", "--fold=0", "--size=32", "--no-flip"} < set(train)
    assert "--decoder-filters=8,8,8,8,8" in train
    commands.clear()
    assert real.main([*options, "--only", "never"], rows) == 0
    assert [words[0] for words in commands] == ["prepare", "train"]
    assert "--run=never" in commands[1]


def test_a_row_that_the_time_ends_is_the_last(made, commands, capsys, tmp_path):
    assert real.main(arguments(made, "--root", str(tmp_path), "--hours", "2"), ROWS) == 0
    assert [words[0] for words in commands] == ["prepare", "train"]  # which leaves no scores
    hours = next(word for word in commands[1] if word.startswith("--max-hours="))
    assert 0 < float(hours.partition("=")[2]) <= 2
    assert "--hours 2 are over; the same command resumes\nno row is trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: [], r"no --images.*folder"),
        (lambda root: ["--images", "."], r"no --labels"),
        (lambda root: arguments(root, "--images", "gone"), r"no folder gone"),
        (lambda root: arguments(root, "--labels", "gone.csv"), r"no file gone\.csv"),
        (
            lambda root: arguments(root, "--only", "nothing"),
            r"'nothing' in --only; expected one of near, far",
        ),
        (lambda root: arguments(root, "--hours", "0"), r"--hours 0; expected a time above 0"),
        (lambda root: arguments(root, "--write", "gone.md"), r"gone\.md with 0 marks"),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_trained(made, commands, capsys, change, message):
    assert real.main(change(made), ROWS) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(f"real.py: error: .*{message}.*\n", printed.err)
    assert (commands, printed.out) == ([], "")


def test_labels_of_other_images_are_refused(made, commands, capsys, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("ImageId,EncodedPixels\nother,-1\n")
    assert real.main([*arguments(made), "--labels", str(labels)], ROWS) == 2
    assert re.fullmatch(r"real.py: error: no image of .* has a row in .*\n", capsys.readouterr().err)


def test_a_row_that_was_changed_since_its_training_is_refused(made, commands, capsys):
    changed = [Trial("near", "the first", "smoke", {"epochs": 5})]
    assert real.main(arguments(made), changed) == 2
    assert "epochs 18 -> 5" in capsys.readouterr().err


def test_rows_on_other_labels_are_not_compared(made):
    results = [
        real.measure(trial, real.fold_of(real.parse(arguments(made), ROWS), trial)) for trial in ROWS[:2]
    ]
    results[1].part.studies.loc[1, "EncodedPixels"] = "-1"
    with pytest.raises(UserError, match=r"far.*holds other images or labels than .*near"):
        real.check_alike(results)


@pytest.mark.slow
def test_images_that_are_gone_cost_the_sheet_and_not_the_table(commands, capsys, tmp_path):
    finish(tmp_path, "near")
    (tmp_path / "labels.csv").write_text("ImageId,EncodedPixels\n100-0,-1\n")
    (tmp_path / "images" / "100-1.png").unlink()
    assert real.main(arguments(tmp_path), ROWS[:1]) == 0
    printed = capsys.readouterr()
    assert "the first" in cells_of(printed.out)
    assert re.search(r"warning: no sheet of near: .*100-1\.png", printed.err)


def test_the_auc_of_few_patients_has_an_interval_though_draws_miss_a_kind():
    positive = np.array([True, False, False])
    assert trials.auc_interval(positive, np.array([0.9, 0.1, 0.2]), np.array(list("abc"))) == (
        "1.000 [1.000, 1.000]"
    )
    assert trials.auc_interval(~np.zeros(3, bool), np.arange(3.0), np.array(list("abc"))) == "-"


# `train`, op by op: a graph of a few steps takes longer to make than to run.
TRAIN = """
import sys
import tensorflow as tf
from pneumothorax.cli import main
tf.config.run_functions_eagerly(True)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_rows_are_trained_judged_and_not_trained_again(competition, tmp_path, capfd, monkeypatch):
    fields = {"size": 32, "legs": "", "encoder": "resnet18", "encoder_weights": "none", "fold_count": 2}
    fields |= {"epochs": 1, "warmup_epochs": 0.0, "decoder_filters": (8, 8, 8, 8, 8)}
    rows = [Trial("tiny", "a tiny row", "strong", fields)]
    options = [
        *("--images", str(competition / "raw"), "--root", str(tmp_path)),
        *("--labels", str(next((competition / "raw").rglob("*train*.csv")))),
    ]
    genuine = real.run_command

    def run_command(root, *words):
        if words[0] != "train":
            return genuine(root, *words)
        code, printed = forks.run(TRAIN, *words, "--root", root)
        assert code == 0, printed

    monkeypatch.setattr(real, "run_command", run_command)
    assert real.main(options, rows) == 0
    row = cells_of(capfd.readouterr().out)["a tiny row"]
    assert int(row[0]) > 0
    scores = json.loads((tmp_path / "runs" / "tiny" / "fold0" / "scores.json").read_text())
    assert "out_of_fold" in scores
    assert (tmp_path / "overlays" / "tiny.png").is_file()
    monkeypatch.setattr(real, "run_command", lambda *words: pytest.fail(f"{words} was run again"))
    assert real.main(options, rows) == 0
    assert cells_of(capfd.readouterr().out)["a tiny row"] == row
