import argparse

import pytest

from pneumothorax.cli import build_parser
from pneumothorax.parser import Parser


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["trian"],
            "pneumothorax: error: unknown command 'trian', did you mean train? See `pneumothorax --help`",
        ),
        (["--vers"], "unknown flag --vers, did you mean --version? See `pneumothorax --help`"),
        (
            ["push", "train", "--folds", "0,1"],
            "unknown flag --folds, did you mean --fold? See `pneumothorax push --help`",
        ),
        (["push", "--fodl=0", "train"], "unknown flag --fodl, did you mean --fold?"),
        (
            ["push", "trian"],
            "argument KERNEL: 'trian', expected train, submit, explore; did you mean train? See",
        ),
        (["train", "--fold-c", "3"], "unknown flag --fold-c, did you mean --fold"),
        (["train", "--architecture", "unt"], "expected unet, fpn, linknet, pspnet; did you mean unet?"),
        (["train", "fold", "0"], "unexpected argument 'fold', did you mean --fold?"),
        (["predict", "hand", "--child-off", "1"], "unknown flag --child-off; see"),  # nor what help hides
        (["tune", "hand", "other"], "unexpected argument 'other'; see `pneumothorax tune --help`"),
        (["tune", "--run", "hand"], "unknown flag --run, RUN takes no flag: `pneumothorax tune RUN`; see"),
        (["push", "--kernel=train"], "KERNEL takes no flag: `pneumothorax push KERNEL`; see"),
        (["validate", "--file", "x.csv"], "FILE takes no flag: `pneumothorax validate FILE`; see"),
    ],
)
def test_a_wrong_word_names_the_nearest_and_the_commands_own_help(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "--threshold", "-1", "--message", "-- a text --"],
        ["submit", "--root", "x", "hand", "--min-area", "-1"],
        ["submit", "--min-area=-1", "--", "hand"],
    ],
)
def test_values_that_begin_with_a_dash_are_no_flags(words):
    assert build_parser().parse_args(words).run in (None, "hand")


@pytest.mark.parametrize("make", [Parser, argparse.ArgumentParser])
def test_right_words_mean_what_they_mean_to_argparse(make):
    parser = make(prog="x")
    parser.add_argument("run", nargs="?")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--name", action="append")
    for words in ([], ["a"], ["--count", "-1", "a"], ["--name=-b", "--name=c d", "--", "-e"]):
        found = vars(parser.parse_args(words))
        assert found == {
            "run": {"a": "a", "-e": "-e"}.get((words or [""])[-1]),
            "count": -1 if "-1" in words else 1,
            "name": ["-b", "c d"] if "-e" in words else None,
        }
