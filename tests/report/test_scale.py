"""The scale of the report: known scores are labelled, labels are legible, the standard error is the run's."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.report.runs import TRIPLET, make_run

from pneumothorax.data.folds import patients_of
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.recipes import RECIPES
from pneumothorax.report import scale
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.report.svg import to_svg

LABELS = ("0.7886 all-empty", "0.8461 one architecture", "0.8512 42nd place", "0.8679 1st place")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("scale"), decision=TRIPLET)
    return evaluate_run(path, *open_run(path))


def scored(run, score, low, high):
    """Return the run with a nested metric of one's own."""
    decision = replace(run.decision, score=score, low=low, high=high, images=len(run.studies))
    return replace(run, decision=decision, is_tuned=True, newer=())


@pytest.mark.slow
@pytest.mark.parametrize(
    "metrics",
    [
        [(0.85, 0.845, 0.855)],
        [(0.0, 0.0, 0.0)],
        [(1.0, 0.99, 1.0)],
        [(0.31, 0.28, 0.35), (0.86, 0.85, 0.87), (0.93, 0.9, 0.95)],
    ],
)
def test_no_label_meets_another_or_the_line_of_another_or_the_edge(run, metrics):
    figure = scale.draw_scale([scored(run, *each) for each in metrics])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axis,) = figure.axes
    boxes = {text.get_text(): text.get_window_extent() for text in axis.texts}
    assert set(LABELS) < set(boxes)
    for one, other in itertools.combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other]), (one, other)
    lines = [line.get_window_extent() for line in axis.lines[: len(LABELS)]]
    for label in LABELS:
        assert not any(boxes[label].overlaps(line) for line in lines), label
        assert axis.bbox.x0 < boxes[label].x0
        assert boxes[label].x1 < axis.bbox.x1
    assert max(axis.get_xticks()) <= 1.0


def test_the_caption_says_what_each_label_stands_for(run):
    text = to_svg(scale.draw_scale([run]), "scale", "")
    for label in LABELS:
        assert label in text
        assert label.split()[0] in scale.CAPTION
    assert "ResNet34 U-Net, 1024 pixels, five folds" in scale.CAPTION


def test_the_standard_error_is_that_of_the_mean_over_patients(run):
    low, high = bootstrap(run.dice, patients_of(run.studies))
    assert scale.standard_error(run) == pytest.approx((high - low) / 3.92)
    values = np.random.default_rng(0).random(400)
    wide = scored(run, values.mean(), *bootstrap(values, np.arange(400).astype(str)))
    assert scale.standard_error(wide) == pytest.approx(values.std() / 20, rel=0.1)


def test_local_scores_by_patient_are_the_ones_to_trust(run):
    folds = scored(run, 0.85, 0.8402, 0.8598)
    folds = replace(folds, recipe=replace(RECIPES["strong"]))
    told = scale.explain_trust([folds])
    assert told.startswith("Local scores on folds grouped by patient are the ones to trust.")
    assert "on these 8 images: 0.0050 (hand)." in told
    assert "about 0.005" in told
    assert "12,047 images 0.003" in told
    assert "by image" not in told
    by_image = replace(folds, recipe=RECIPES["seed"])
    assert scale.explain_trust([folds, by_image]).endswith("The split of hand is by image, not by patient.")
    assert "by image" not in scale.explain_trust([replace(folds, recipe=None)])  # an ensemble
