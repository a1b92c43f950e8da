"""Figures show the names that a run or a tag has, letter by letter."""

import pytest
from tests.report.runs import TRIPLET, make_run

from pneumothorax.report import charts, classification_charts, comparison, groups, scale
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.report.svg import case_link, to_svg

NAMES = ("_x", "$x^$", "a$b$_")
VIEWS = ("$y^$", "$\\foo$", "_z")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return three runs of odd names."""
    root = tmp_path_factory.mktemp("odd")
    found = []
    for name in NAMES:
        path = make_run(root, name, number=6, image_probability=True, decision=TRIPLET)
        found.append(evaluate_run(path, *open_run(path)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        charts.draw_histogram,
        classification_charts.draw_roc,
        classification_charts.draw_precision,
        classification_charts.draw_reliability,
        lambda runs: (scale.draw_scale(runs), {}),
    ],
    ids=["histogram", "roc", "precision", "reliability", "scale"],
)
def test_every_run_is_named_as_it_is(runs, draw):
    text = to_svg(draw(runs)[0], "figure", "")
    for name in NAMES:
        assert name in text


@pytest.mark.slow
def test_two_runs_and_groups_are_named_as_they_are(runs):
    order = comparison.align(runs)[1]
    text = to_svg(comparison.draw_pairs(runs, 1, order, runs[0].positive | True)[0], "pairs", "")
    assert "Dice by _x" in text
    assert "Dice by $x^$" in text
    runs[0].studies.loc[[1, 3, 5], "view"] = list(VIEWS)
    text = to_svg(charts.draw_groups(runs[0])[0], "groups", "")
    for view in VIEWS:
        assert view in text


def test_many_groups_are_the_largest_and_the_others(runs):
    run = runs[1]
    run.studies["view"] = ["PA", "AP", "\x1b\x00", "AP", "PA", "AP"]  # every other image is positive
    assert "\\x1b\\x00" not in to_svg(charts.draw_groups(run)[0], "groups", "")
    views = [f"view {number}" for number in range(5)] + ["view 1"]
    run.studies["view"] = views
    _, links = charts.draw_groups(run)
    assert any("view=view+1" in link and "truth=1" in link for link in links)
    assert not any("view=view+0" in link for link in links)  # no positive


@pytest.mark.slow
def test_of_more_groups_than_bars_the_rest_is_one(tmp_path):
    path = make_run(tmp_path, number=18, decision=TRIPLET)
    run = evaluate_run(path, *open_run(path))
    run.studies["view"] = [f"v{number // 2}" for number in range(18)]
    figure, links = charts.draw_groups(run)
    text = to_svg(figure, "groups", "")
    assert sum("view=v" in link for link in links) == groups.MOST_GROUPS
    assert "other" in text


@pytest.mark.slow
def test_points_of_pictured_cases_alone_are_links(runs):
    run = runs[0]
    pictured = run.studies.index.to_numpy() == 1
    for draw in (charts.draw_dice_by_area, charts.draw_area):
        figure, links = draw(run, pictured)
        assert list(links) == [case_link(run.studies["ImageId"][1])]
        assert to_svg(figure, "points", "", links).count('href="#/case/') == 1
        assert 'tabindex="-1"' in to_svg(figure, "points", "", links)
