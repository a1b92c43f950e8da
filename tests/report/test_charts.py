"""Figures show the names that a run or a tag has, letter by letter."""

import pytest
from tests.report.runs import TRIPLET, make_run

from pneumothorax.report import charts, comparison, summary
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.report.svg import to_svg

NAMES = ("_x", "$x^$", "a$b$_")
VIEWS = ("$y^$", "$\\foo$", "_z")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return three runs of odd names."""
    root = tmp_path_factory.mktemp("odd")
    found = []
    for name in NAMES:
        path = make_run(root, name, number=6, presence=True, decision=TRIPLET)
        found.append(evaluate_run(path, *open_run(path)))
    return found


@pytest.mark.parametrize(
    "draw",
    [
        charts.draw_histogram,
        charts.draw_roc,
        charts.draw_precision,
        charts.draw_reliability,
        lambda runs: (summary.draw_scale(runs), {}),
    ],
    ids=["histogram", "roc", "precision", "reliability", "scale"],
)
def test_every_run_is_named_as_it_is(runs, draw):
    text = to_svg(draw(runs)[0], "figure", "")
    for name in NAMES:
        assert name in text


def test_two_runs_and_groups_are_named_as_they_are(runs):
    order = comparison.align(runs)[1]
    text = to_svg(comparison.draw_pairs(runs, 1, order, runs[0].ill | True)[0], "pairs", "")
    assert "Dice by _x" in text
    assert "Dice by $x^$" in text
    runs[0].studies.loc[[1, 3, 5], "view"] = list(VIEWS)
    text = to_svg(charts.draw_groups(runs[0])[0], "groups", "")
    for view in VIEWS:
        assert view in text
