import errno
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pneumothorax import flags
from pneumothorax.cli import build_parser, main
from pneumothorax.commands import data, runs, submissions
from pneumothorax.data import rle
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Split
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import write_predictions
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.provenance import digest_folds, write_note

ROAD = ("phantom", "prepare", "train", "tune", "predict", "submit", "score", "figures", "report")
COMMANDS = (
    *(
        "demo",
        "augmentations",
        "ensemble",
        "validate",
        "download",
        "leaderboard",
        "explore",
        "segment",
        "export",
        "publish",
        "app",
        *ROAD,
    ),
    *("kernels", "push", "kernel-status", "kernel-output", "kernels-deps", "quota"),
)
HEAVY = (
    "tensorflow",
    "jax",
    "keras",
    "segmentation_models",
    "pandas",
    "numpy",
    "cv2",
    "matplotlib",
    "sklearn",
    "pydicom",
    "kaggle",
    "kagglesdk",
    "requests",
)
SIZE = 32


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """Keep what main() tells TensorFlow, and the user's own root, out of other tests."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.delenv(flags.ROOT_VARIABLE, raising=False)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a workspace with a hand-made run and a sample submission, and go there."""
    monkeypatch.chdir(tmp_path)
    root = Path("work")
    (root / "data" / "raw").mkdir(parents=True)
    fold = root / "runs" / "hand" / "fold0"
    fold.mkdir(parents=True)
    (fold / "best.weights.h5").touch()
    (fold / "recipe.json").write_text(to_json(RECIPES["smoke"]))
    write_predictions(fold / "out_of_fold", [make_maps()], make_studies(), SIZE)
    write_predictions(root / "runs/hand/predictions/test", [make_maps()], make_studies(), SIZE)
    rows = "".join(f"i{row},-1\n" for row in range(4))
    (root / "data/raw/stage_2_sample_submission.csv").write_text("ImageId,EncodedPixels\n" + rows)
    return root


def make_maps():
    maps = np.zeros((4, SIZE, SIZE), np.uint8)
    maps[:2, 8:16, 8:16] = 200
    return maps


def make_studies(**columns):
    codes = [rle.encode(cv2.resize(part, (1024, 1024)) > 128) for part in make_maps()]
    known = {"ImageId": [f"i{row}" for row in range(4)], "EncodedPixels": codes}
    known |= {"area": [rle.area(code) for code in codes], "height": 1024, "width": 1024, "path": "none.png"}
    return pd.DataFrame(known | columns)


def run_python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def home_of(command):
    """Return the module of the function that a command calls."""
    needed = {
        "validate": ["x"],
        "score": ["x", "--truth", "x"],
        "report": ["x"],
        "segment": ["x", "--out", "x"],
        "export": ["x", "--out", "x"],
        "publish": ["x", "--to", "kaggle"],
    }.get(command, [])
    needed = ["x", "y", "--run", "z"] if command == "ensemble" else needed
    needed = ["train"] if command in ("push", "kernel-status", "kernel-output") else needed
    return import_module(f"pneumothorax.commands.{build_parser().parse_args([command, *needed]).module}")


def exit_code(words):
    """Run a command line; return its exit code, argparse's own exits included."""
    try:
        return main([str(word) for word in words])
    except SystemExit as error:
        return error.code


def fails(capsys, *words):
    """Check that a command line ends as a mistake of the user's in one line, and return the line."""
    assert exit_code(words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("pneumothorax")
    assert ": error: " in err
    return err


# Starting


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["train", "--help"], ["score"], ["train", "--size", "x"]]
)
def test_help_and_mistakes_wait_for_no_library(words):
    script = (
        "import sys; from pneumothorax.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: assert not set(sys.modules) & set({HEAVY!r})"
    )
    result = run_python("-c", script, *words)
    assert "AssertionError" not in result.stderr
    assert result.returncode in (0, 2)


@pytest.mark.slow
def test_commands_that_train_nothing_import_no_network_library(root):
    script = (
        "import sys; from pneumothorax.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not set(sys.modules) & {'tensorflow', 'keras', 'segmentation_models'}\n"
        "raise SystemExit(code)"
    )
    result = run_python("-c", script, "tune", "hand", "--root", str(root))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_an_implementation(capsys, command):
    assert exit_code([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"usage: pneumothorax {command}" in out
    assert "default: None" not in out
    assert "--root" in out
    assert command == "demo" or callable(getattr(home_of(command), command.replace("-", "_")))


def test_no_command_shows_all_of_them(capsys):
    assert main([]) == 2
    out, _ = capsys.readouterr()
    assert all(f"\n    {command}" in out for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "unknown command 'nope'; see `pneumothorax --help`"),
        (["train", "--zzz"], "unknown flag --zzz; see `pneumothorax train --help`"),
        (["prepare", "--fold", "1"], "unknown flag --fold, did you mean --fold-count?"),
        (["score", "x.csv"], "required: --truth"),
        (["train", "--recipe", "nope"], "no recipe 'nope'; expected seed, strong, lite, smoke, or the path"),
        (["train", "--size", "x"], "--size"),
        (["train", "--decoder-filters", "1,x"], "expected whole numbers such as 256,128,64"),
        (["train", "--loss-reduction", "mean"], "'mean', expected batch, image"),
        (["submit", "--threshold", "high"], "--threshold"),
        (["submit", "a", "--file", "b.csv"], "not allowed with argument RUN"),
        (["submit", "--dry-run", "--write-only"], "not allowed with argument --dry-run"),
        (["submit", "--message", "two\nlines"], "expected one line of text"),
        (["download", "--source", "owner"], "jesperdramsch, vbookshelf, none, or OWNER/DATASET"),
        (["download", "--source", "../x"], "OWNER/DATASET"),
        (["download", "--tries", "0"], "1 or more"),
        (["train", "--max-hours", "0"], "expected hours above 0"),
        (["train", "--max-hours", "nan"], "expected a time"),
        (["submit", "--wait", "-1"], "expected a time"),
        (["kernel-output", "train", "--wait", "inf"], "expected a time"),
        (["push"], "required: KERNEL"),
        (["push", "other"], "argument KERNEL: 'other', expected train, submit, explore"),
        (["push", "train", "--parameter", "RECIPE"], "expected NAME=VALUE"),
        *[
            ([name, "--workers", value], "1 or more")
            for name in ("prepare", "predict")
            for value in ("0", "-2")
        ],
        (["phantom", "--workers", "1.5"], "1 or more"),
        *[
            (["train", "--fold", value], "0, or 0,2, or 0-4")
            for value in ("", "x", "-1", "4-0", "0-", "1-2-3", "0,")
        ],
        (["train", "--fold", "0-99999999999"], "0, or 0,2, or 0-4"),
        *[(["tune", value], "a name without a path") for value in ("../x", "a/b", "/", "..", ".", "")],
        (["train", "--run", "a\\b"], "a name without a path"),
        (["submit", "--set", "../x"], "a name without a path"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(capsys, words, message):
    assert message in fails(capsys, *words)


@pytest.mark.parametrize("command", ["tune", "figures", "predict", "submit", "report"])
def test_a_wrong_run_names_the_nearest(capsys, root, command):
    line = fails(capsys, command, "hnad", "--root", root)
    assert "no run work/runs/hnad; expected one of hand; did you mean hand?" in line
    assert "train" in fails(capsys, command, "other", "--root", root)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0", [0]),
        ("0,2", [0, 2]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("3,0-1", [3, 0, 1]),
        ("1,1,0-1", [1, 0]),
        ("2-2", [2]),
    ],
)
def test_folds_are_read(text, numbers):
    assert build_parser().parse_args(["train", "--fold", text]).fold == numbers


def test_the_root_is_here_or_the_variable_and_the_demos_is_its_own(monkeypatch):
    for expected in (".", "elsewhere"):
        for command in (["tune"], ["train"], ["figures"]):
            assert build_parser().parse_args(command).root == Path(expected)
        assert build_parser().parse_args(["demo"]).root == Path("build/demo")
        assert build_parser().parse_args(["phantom"]).root == Path("build/phantom")
        monkeypatch.setenv(flags.ROOT_VARIABLE, "elsewhere")


# Recipes


def example(part):
    """Return a word for a recipe's field and the value that it means."""
    if isinstance(part.default, tuple):
        return "8,7,6,5,4", (8, 7, 6, 5, 4)
    if isinstance(part.default, str):
        word = part.metadata["choices"][-1] if part.metadata["choices"] else "word"
        return word, word
    value = 64 if isinstance(part.default, int) else 0.25
    return str(value), value


@pytest.mark.slow
@pytest.mark.parametrize("command", ["prepare", "train"])
@pytest.mark.parametrize(
    "part", [part for part in fields(Recipe) if part.name != "name"], ids=lambda part: part.name
)
def test_each_field_of_a_recipe_has_a_flag(command, part):
    flag = "--" + part.name.replace("_", "-")
    untouched = build_parser().parse_args([command])
    assert part.name not in untouched
    if isinstance(part.default, bool):
        for words, value in ((flag, True), (flag.replace("--", "--no-", 1), False)):
            assert getattr(build_parser().parse_args([command, words]), part.name) is value
        return
    word, value = example(part)
    found = getattr(build_parser().parse_args([command, flag, word]), part.name)
    assert found == value
    assert type(found) is type(part.default)


def test_flags_change_the_named_recipe_and_nothing_else():
    def recipe_of(*words):
        return data.chosen_recipe(build_parser().parse_args(["train", *words]))

    assert recipe_of() == RECIPES["seed"]
    for name, recipe in RECIPES.items():
        assert recipe_of("--recipe", name) == recipe
    changed = recipe_of("--recipe", "smoke", "--size", "96", "--no-flip")
    assert (changed.size, changed.flip) == (96, False)
    assert changed.encoder == RECIPES["smoke"].encoder


def test_flags_change_the_recipe_of_a_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"size": 96, "encoder": "resnet18"}')
    for command in ("prepare", "explore", "augmentations", "train"):
        options = build_parser().parse_args(
            [command, "--recipe", str(path), "--encoder", "resnet34", "--flip"]
        )
        assert data.chosen_recipe(options) == Recipe(name="mine", size=96, encoder="resnet34", flip=True)


def test_a_file_s_recipe_is_prepared_by_the_file(capsys, tmp_path):
    path = tmp_path / "my recipe.json"
    path.write_text('{"size": 96, "flip": true}')
    for command in ("train", "augmentations"):
        err = fails(capsys, command, "--root", tmp_path, "--recipe", path)
        assert f"run `pneumothorax prepare --recipe '{path}' --size 96 --interpolation bilinear`" in err


@pytest.mark.parametrize("command", ["prepare", "explore", "augmentations", "train"])
def test_a_wrong_recipe_file_is_one_line(capsys, tmp_path, command):
    path = tmp_path / "mine.json"
    path.write_text('{"sise": 96}')
    err = fails(capsys, command, "--root", tmp_path, "--recipe", path)
    assert f"{path}: unknown field 'sise'; expected fields of a recipe; did you mean size?" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "100"], "use 96 or 128"),
        (["--batch-size", "0"], "a whole number, 1 or more"),
        (["--learning-rate", "0"], "above 0"),
        (["--loss", "bce + tversky"], "there is no term 'tversky'"),
    ],
)
def test_a_recipe_out_of_range_is_one_line(capsys, root, words, message):
    for command in ("train", "prepare"):
        assert message in fails(capsys, command, "--root", root, *words)


# Mistakes and faults


def test_debug_shows_where_a_mistake_was_found(root):
    with pytest.raises(UserError, match="no run"):
        main(["tune", "none", "--root", str(root), "--debug"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR])
@pytest.mark.parametrize("file", ["some/file", None])
def test_what_the_disk_refuses_is_one_line(capsys, monkeypatch, number, file):
    def refuse(options):
        raise OSError(number, os.strerror(number), file)

    monkeypatch.setattr(runs, "tune", refuse)
    line = fails(capsys, "tune")
    assert os.strerror(number) in line
    assert file is None or file in line
    with pytest.raises(OSError, match=os.strerror(number)):
        main(["tune", "--debug"])


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "x"), ValueError("x"), AssertionError("x")])
def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch, error):
    def fail(options):
        raise error

    monkeypatch.setattr(runs, "tune", fail)
    with pytest.raises(type(error)):
        main(["tune"])


def test_a_process_of_several_can_add_flags_to_the_words(monkeypatch):
    found = []
    monkeypatch.setattr(runs, "predict", lambda options: found.append(options) or 0)
    assert main(["predict", "--debug", "--", "hand"]) == 0
    assert (found[0].run, found[0].arguments) == ("hand", ["predict", "--debug", "hand"])


def test_an_interrupt_ends_with_130(capsys, monkeypatch):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "tune", interrupt)
    assert main(["tune"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "interrupted" in err


def test_a_root_that_is_a_file_is_one_line(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in fails(capsys, "phantom", "--root", tmp_path / "file", "--workers", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune"], "run `pneumothorax train`"),
        (["figures"], "run `pneumothorax train`"),
        (["predict"], "run `pneumothorax train`"),
        (
            ["predict", "hand"],
            "run `pneumothorax prepare --recipe smoke --size 64 --interpolation area`",
        ),
        (["predict", "hand", "--images", "nowhere"], "no folder"),
        (["train"], "run `pneumothorax prepare --recipe seed --size 128 --interpolation bilinear`"),
        (["train", "--size", "64"], "--size 64"),
        (["submit", "hand", "--write-only", "--set", "other"], "run `pneumothorax predict`"),
        (
            ["submit", "hand", "--write-only", "--threshold", "1.5"],
            "threshold 1.5; expected a probability from 0 to 1",
        ),
        (["submit", "hand", "--write-only", "--threshold", "nan"], "threshold nan"),
        (
            ["submit", "hand", "--write-only", "--top-threshold", "0.2"],
            "--top-threshold 0.2, above which pixels count for the minimum area, is below the default",
        ),
        (
            ["submit", "hand", "--write-only", "--threshold", "0.5", "--min-area", "-1"],
            "min_area -1",
        ),
        (
            [
                "submit",
                "hand",
                "--write-only",
                "--threshold",
                "0.5",
                "--min-area",
                "0",
                "--sample",
                "none.csv",
            ],
            "none.csv",
        ),
        (["validate", "none.csv"], "no file none.csv"),
        (["score", "none.csv", "--truth", "none.csv"], "no file none.csv"),
    ],
)
def test_what_is_missing_names_the_remedy(capsys, root, words, message):
    assert exit_code([*words, "--root", root]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if "warning:" not in line]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize("content", ["missing", "empty", "no image"])
def test_preparing_nothing_is_one_line(capsys, tmp_path, content):
    raw = tmp_path / "data" / "raw"
    if content != "missing":
        raw.mkdir(parents=True)
    if content == "no image":
        (raw / "train-rle.csv").write_text("ImageId, EncodedPixels\na, -1\n")
    assert "make download" in fails(capsys, "prepare", "--root", tmp_path)


def test_images_that_no_table_lists_are_not_prepared(capsys, tmp_path):
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    cv2.imwrite(str(raw / "a.png"), np.zeros((1024, 1024), np.uint8))
    assert exit_code(["prepare", "--root", tmp_path]) == 2
    assert "--annotations" in capsys.readouterr().err


def test_prepare_fills_both_caches(capfd, tmp_path):
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    for name in "ab":
        cv2.imwrite(str(raw / f"{name}.png"), np.full((1024, 1024), 9, np.uint8))
    (raw / "train-rle.csv").write_text("ImageId, EncodedPixels\na, 5 9\n")
    (raw / "stage_2_sample_submission.csv").write_text("ImageId,EncodedPixels\nb,-1\n")
    assert exit_code(["prepare", "--root", tmp_path, "--size", "32", "--workers", "1"]) == 0
    out, err = capfd.readouterr()
    assert "32-bilinear/train: 1 images, 1 with a pneumothorax" in out
    assert "32-bilinear/test: 1 images\n" in out
    assert "warning: some images name no patient" in err
    assert "warning" not in out


@pytest.mark.parametrize("command", ["prepare", "explore"])
def test_a_folder_that_cannot_be_read_ends_a_command_unless_it_may_be_left_out(
    capsys, tmp_path, monkeypatch, command
):
    raw = tmp_path / "data" / "raw"
    (raw / "shut").mkdir(parents=True)
    for name in ("a", "b", "shut/c"):
        cv2.imwrite(str(raw / f"{name}.png"), np.full((1024, 1024), 9, np.uint8))
    (raw / "train-rle.csv").write_text("ImageId, EncodedPixels\na, 5 9\nb,-1\n")
    scandir = os.scandir

    def refuse(path="."):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    words = [command, "--root", tmp_path, "--size", "32", "--workers", "1"]
    assert exit_code(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(f"cannot read {raw / 'shut'} (Permission denied)" in line for line in lines)
    assert lines[-1].endswith("--skip-bad")
    assert not (tmp_path / "data" / "cache").exists()
    if command == "prepare":
        assert exit_code([*words, "--skip-bad"]) == 0
        assert "32-bilinear/train: 2 images" in capsys.readouterr().out


def test_images_without_their_annotations_are_counted_and_the_tables_are_named(capsys, tmp_path):
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    for name in "ab":
        cv2.imwrite(str(raw / f"{name}.png"), np.full((1024, 1024), 9, np.uint8))
    (raw / "masks.csv").write_text("ImageId, EncodedPixels\na, 5 9\n")
    (raw / "sample_submission.csv").write_text("ImageId,EncodedPixels\nb,-1\n")
    assert exit_code(["prepare", "--root", tmp_path, "--size", "32", "--workers", "1"]) == 0
    err = capsys.readouterr().err
    assert f"no train image: 2 images in {raw}, but no annotations (stage_2_train.csv or" in err
    assert f"other tables there: {raw / 'masks.csv'}" in err


# Deciding, submitting, scoring


def test_tune_then_submit_then_validate_then_score(capsys, root):
    def results(*words):
        assert exit_code([*words, "--root", root]) == 0
        out, err = capsys.readouterr()
        assert "warning" not in err
        return out

    told = results("tune", "hand")
    assert "out of fold (4 images)" in told
    assert "all-empty                          0.5000" in told
    out = root / "mine.csv"
    assert "4 rows, valid, 2 empty" in results("submit", "hand", "--write-only", "--out", out)
    assert "4 rows, valid" in results("validate", out)
    truth = root / "truth.csv"
    make_studies()[["ImageId", "EncodedPixels"]].to_csv(truth, index=False)
    assert "over 4 images (all-empty scores 0.5000)" in results("score", out, "--truth", truth)
    printed = results("score", out, "--truth", truth, "--json")
    found = json.loads(printed)
    assert printed.count("\n") == 1
    assert set(found) == {"mean_dice", "dice_positive", "dice_negative", "images", "positives"}
    assert (found["images"], found["positives"], found["dice_negative"]) == (4, 2, 1.0)


def test_an_untuned_rule_is_warned_of(capsys, root):
    assert exit_code(["submit", "hand", "--write-only", "--root", root, "--out", root / "a.csv"]) == 0
    assert "warning: no work/runs/hand/decision.json" in capsys.readouterr().err
    flags = ["--threshold", "0.5", "--min-area", "9"]
    assert exit_code(["submit", "hand", "--write-only", "--root", root, "--out", root / "b.csv", *flags]) == 0
    out, err = capsys.readouterr()
    assert "warning" not in err
    assert "(threshold 0.5, minimum area 9 pixels)" in out


def test_flags_go_before_the_tuned_rule(capsys, root):
    main(["tune", "hand", "--root", str(root)])
    flags = ["hand", "--root", root, "--out", root / "a.csv", "--min-area", 2**20]
    assert exit_code(["submit", "--write-only", *flags]) == 0
    assert "4 empty" in capsys.readouterr().out


def test_two_submissions_of_one_second_do_not_meet(capsys, root, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, zone):
            assert zone is UTC
            return cls(2025, 1, 2, 3, 4, 5)

    monkeypatch.setattr(submissions, "datetime", Clock)
    words = ["submit", "hand", "--write-only", "--root", root, "--threshold", "0.5", "--min-area"]
    assert exit_code([*words, "0"]) == 0
    path = root / "submissions" / "20250102T030405Z-hand.csv"
    before = path.read_bytes()
    assert str(path) in capsys.readouterr().out
    assert "there already" in fails(capsys, *words, 2**20)
    assert path.read_bytes() == before


def test_predictions_of_other_images_are_no_submission(capsys, root):
    studies = make_studies(height=[1024, 512, 1024, 1024])
    write_predictions(root / "runs/hand/predictions/mine", [make_maps()], studies, SIZE)
    words = [
        "submit",
        "hand",
        "--write-only",
        "--root",
        root,
        "--set",
        "mine",
        "--threshold",
        ".5",
        "--min-area",
        "0",
    ]
    assert exit_code(words) == 2
    err = capsys.readouterr().err
    assert "image i1 of 512x1024 pixels; expected the competition's 1024x1024" in err
    assert not (root / "submissions").exists() or not list((root / "submissions").iterdir())


def test_validate_says_what_is_wrong_and_exits_with_2(capsys, root):
    path = root / "bad.csv"
    path.write_text("ImageId,EncodedPixels\ni0,-1\ni1,1\ni2,-1\ni3,-1\ni3,-1\n")
    line = fails(capsys, "validate", path, "--root", root)
    assert "2 faults" in line
    assert "row 3, i1: 1 numbers" in line
    assert "row 6: i3 stands in row 5 already" in line


def test_tune_warns_where_all_images_are_positive(capsys, root):
    fold = root / "runs" / "hand" / "fold0" / "out_of_fold"
    write_predictions(fold, [make_maps()[:2]], make_studies().iloc[:2], SIZE)
    assert main(["tune", "hand", "--root", str(root)]) == 0
    assert "warning: no image without a pneumothorax" in capsys.readouterr().err


def test_two_folders_of_images_never_share_their_predictions(tmp_path):
    names = {runs._name_of(tmp_path / parent / "test") for parent in "ab"}
    assert len(names | {"test"}) == 3
    assert runs._name_of(tmp_path / "a" / ".." / "a" / "test") in names


# The demo


@pytest.fixture
def called(monkeypatch):
    """Record the commands that run in place of the real ones."""
    calls = []

    def record(name, code=0):
        monkeypatch.setattr(home_of(name), name, lambda options: calls.append((name, options)) or code)

    for name in ROAD:
        record(name)
    return calls, record


def test_the_demo_runs_each_command_on_its_own_root(capsys, tmp_path, called):
    calls, _ = called
    assert exit_code(["demo", "--root", tmp_path, "--train", "20", "--workers", "1", "--seed", "3"]) == 0
    names = [name for name, _ in calls]
    assert names == list(ROAD)
    assert [options.write_only for name, options in calls if name == "submit"] == [True]
    assert all(options.root == tmp_path and not options.debug for _, options in calls)
    assert [options.workers for _, options in calls if "workers" in options] == [1, 1, 1]
    assert (calls[0][1].train, calls[0][1].seed) == (20, 3)
    assert calls[1][1].recipe == calls[2][1].recipe == "smoke"
    assert all(options.run in (None, "smoke") for _, options in calls if "run" in options)
    assert calls[-1][1].runs == ["smoke"]
    assert f"$ pneumothorax tune smoke --root {tmp_path}" in capsys.readouterr().out


def test_the_demo_ends_where_a_command_fails(tmp_path, called):
    calls, record = called
    record("train", 130)
    assert exit_code(["demo", "--root", tmp_path, "--debug"]) == 130
    assert [name for name, _ in calls] == ["phantom", "prepare", "train"]
    assert all(options.debug for _, options in calls)


def test_the_demo_can_be_run_again(tmp_path, called):
    old = tmp_path / "submissions" / "demo.csv"
    old.parent.mkdir()
    old.touch()
    assert exit_code(["demo", "--root", tmp_path]) == 0
    assert not old.exists()


# Scoring a trained fold


@pytest.fixture
def fold(root, monkeypatch):
    """Return a trained fold, its cache and split; prediction, which needs a network, is an error."""
    held_out = import_module("pneumothorax.inference.held_out")  # with Keras, which other tests do without
    for name in ("load_folds", "predict_rows"):
        monkeypatch.setattr(held_out, name, None)
    fold = FoldFolder(root / "runs" / "hand" / "fold0")
    rows, none = np.arange(4), np.arange(0)
    split = Split(train=none, validation=rows, out_of_fold=rows, test=none)
    return fold, Cache(root, make_maps(), make_maps(), make_studies()), split


def score_fold(*fold):
    import_module("pneumothorax.inference.held_out").score_fold(*fold, RECIPES["smoke"])


DRAWING = """
import os, sys
from pneumothorax.cli import main
from pneumothorax.commands import runs
def figures(options):
    from pneumothorax.report import figures
    print(os.environ["MPLBACKEND"])
    return 0
runs.figures = figures
sys.exit(main(["figures"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "used"),
    [
        ("Qt7Agg", "agg"),
        ("TkAgg", "agg"),
        *[(name, name) for name in ("module://matplotlib_inline.backend_inline", "")],
    ],
    ids=["unknown", "a window", "a notebook", "empty"],
)
def test_a_window_toolkit_that_is_missing_stops_no_figure(named, used):
    environment = os.environ | {"MPLBACKEND": named}
    result = subprocess.run(
        [sys.executable, "-c", DRAWING], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, used + "\n"), result.stderr


def test_a_fold_that_is_scored_already_is_not_predicted_again(capsys, fold):
    score_fold(*fold)
    assert (
        "held-out fold (its best epoch was picked on it): 2 positives of 4 images" in capsys.readouterr().out
    )
    scores = json.loads(fold[0].scores.read_text())
    assert list(scores) == ["out_of_fold"]
    assert scores["out_of_fold"]["all_empty"] == 0.5


def test_probabilities_of_another_cache_are_refused(fold):
    trained, cache, split = fold
    other = replace(cache, studies=make_studies(ImageId=["i0", "i1", "i3", "i2"]))
    with pytest.raises(UserError, match="holds other images than"):
        score_fold(trained, other, split)


def test_a_finished_fold_without_its_weights_is_refused(fold):
    fold[0].weights.unlink()
    with pytest.raises(UserError, match=r"no weights .*best\.weights\.h5, but the fold has finished"):
        score_fold(*fold)


def test_a_copy_of_a_scored_fold_is_not_predicted_again(fold):
    write_note(fold[0].out_of_fold, digest_folds([fold[0].weights]))
    os.utime(fold[0].weights, ns=(2**62, 2**62))
    score_fold(*fold)
    fold[0].weights.write_bytes(b"other weights")
    os.utime(fold[0].weights, ns=(1, 1))
    with pytest.raises(TypeError):  # load_folds is None
        score_fold(*fold)


def test_new_weights_are_predicted_anew(fold):
    os.utime(fold[0].weights, ns=(2**62, 2**62))
    with pytest.raises(TypeError):  # load_folds is None
        score_fold(*fold)
