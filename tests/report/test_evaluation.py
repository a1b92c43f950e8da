"""What the report says of a run equals what the package's own parts say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.report.runs import TRIPLET, make_run

from pneumothorax.data import rle
from pneumothorax.data.cache import shrink
from pneumothorax.data.folds import patients_of
from pneumothorax.data.laterality import side_of
from pneumothorax.inference.decision import Decision, decide
from pneumothorax.inference.evaluate import evaluate
from pneumothorax.inference.pixel_counts import judge
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.recipes import RECIPES
from pneumothorax.report.charts import image_reliability, pixel_reliability
from pneumothorax.report.decision_charts import emptied, sweep
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.report.summary import facts_of
from pneumothorax.workspace import write_text


@pytest.fixture
def run(tmp_path):
    rule = replace(TRIPLET.rule, min_component=0, classification_threshold=0.3)
    path = make_run(tmp_path, image_probability=True, decision=Decision(rule))
    return evaluate_run(path, *open_run(path))


def test_table_1_is_that_of_training(run):
    (part,) = run.parts
    assert run.table_1 == evaluate(part, run.recipe.interpolation, run.recipe.smooth)


def test_each_true_mask_is_decoded_once(tmp_path, monkeypatch):
    path = make_run(tmp_path, image_probability=True)
    folds, parts = open_run(path)
    decode, decoded = rle.decode, []

    def note(code, shape):
        decoded.append(code)
        return decode(code, shape)

    monkeypatch.setattr(rle, "decode", note)
    evaluate_run(path, folds, parts)
    codes = [code for part in parts for code in part.studies["EncodedPixels"]]
    assert decoded == [code for code in codes if code != rle.EMPTY]


def test_the_metric_has_the_interval_of_its_patients_unless_tune_has_earned_another(run):
    low, high = bootstrap(run.dice, patients_of(run.studies))
    assert run.metric() == (run.dice.mean(), low, high)
    assert not run.is_nested
    tuned = replace(run.decision, score=0.7, low=0.6, high=0.8, images=len(run.studies))
    nested = replace(run, decision=tuned, is_tuned=True)
    assert nested.metric() == (0.7, 0.6, 0.8)
    assert not replace(nested, part="test part").is_nested
    assert not replace(nested, decision=replace(tuned, images=3)).is_nested


def test_a_perfect_classifier_scores_what_the_threshold_scores_on_positives_and_one_on_others(run):
    each = judge(run.parts[0], Rule(run.decision.rule.threshold))
    assert run.ceiling() == pytest.approx(np.where(run.positive, each, 1.0).mean())


@pytest.mark.parametrize("name", ["threshold", "top_threshold", "min_area", "classification_threshold"])
def test_a_sweep_scores_each_rule_as_the_metric_does(run, name):
    points = sweep(run, name)
    assert len(points) > 5
    for value, each, empty in points[::4]:
        changed = {name: int(value) if name == "min_area" else value}
        if name == "threshold":
            changed["top_threshold"] = max(run.decision.rule.top_threshold, value)
        expected = judge(run.parts[0], replace(run.decision.rule, **changed))
        np.testing.assert_allclose(each, expected)
        assert 0 <= empty <= 1


def test_what_a_rule_empties_and_marks_are_all_images(run):
    rows = emptied(run)
    marked, *_ = [row for row in rows if row[0] == "marked"]
    assert int(marked[3]) == np.count_nonzero(run.area)
    assert sum(int(row[3]) for row in rows[:-1]) == len(run.studies)
    assert any("classification threshold" in row[0] and int(row[3]) for row in rows)
    plain = judge(run.parts[0], Rule(run.decision.rule.threshold)).mean()
    assert rows[-1][-1] == f"{plain:.4f}"


def test_reliability_is_that_of_every_pixel_once(run):
    (part,) = run.parts
    codes = part.studies["EncodedPixels"]
    masks = np.stack(
        [shrink(rle.decode(code, (1024, 1024)) * np.uint8(255), 64, "area") / 255 for code in codes]
    )
    probability = part.probabilities / 255
    bins = np.minimum((probability * 20).astype(int), 19)
    there = np.unique(bins)
    told, true = pixel_reliability(run)
    np.testing.assert_allclose(told, [probability[bins == one].mean() for one in there])
    np.testing.assert_allclose(true, [masks[bins == one].mean() for one in there], atol=1e-6)


def test_the_side_of_a_false_alarm_is_that_of_its_mask(tmp_path):
    path = make_run(
        tmp_path, image_probability=True, decision=Decision(Rule(0.2, min_area=20_000, min_component=500))
    )
    run = evaluate_run(path, *open_run(path))
    (part,) = run.parts
    marked = (run.truth == 0) & (run.area > 0)
    empty = (run.truth == 0) & (run.area == 0)
    assert marked.any()
    assert empty.any()
    for row in np.flatnonzero(marked):
        mask = decide(
            part.probabilities[row], run.decision.rule, image_probability=part.image_probability[row]
        )
        assert run.studies["side"][row] == side_of(mask)
    assert (run.studies["side"][empty] == "").all()
    assert (run.studies["side"][run.positive] != "").all()


def test_images_are_reliable_where_the_share_of_ill_ones_is_the_image_probability():
    image_probability = np.array([0.05] * 20 + [0.95] * 20)
    positive = np.arange(40) % 20 == 0
    positive[20:] = ~positive[20:]
    told, true = image_reliability(positive, image_probability)
    np.testing.assert_allclose(told, [0.05, 0.95])
    np.testing.assert_allclose(true, [0.05, 0.95])


def test_a_network_of_positives_alone_is_shown_by_a_plain_cut(tmp_path):
    recipe = replace(RECIPES["seed"], size=64, interpolation="area")
    path = make_run(tmp_path, decision=Decision(Rule(min_area=2**20)), recipe=recipe)
    run = evaluate_run(path, *open_run(path))
    assert run.decision == Decision()
    assert run.area.any()


@pytest.mark.parametrize(
    ("columns", "side"),
    [((0, 3), "right"), ((5, 8), "left"), ((2, 6), "both"), ((4, 5), "left"), ((0, 0), "")],
)
def test_the_left_of_the_picture_is_the_patients_right(columns, side):
    mask = np.zeros((6, 8), np.uint8)
    mask[:, slice(*columns)] = 1
    assert side_of(mask) == side


def test_a_speck_on_the_other_side_does_not_count():
    mask = np.zeros((10, 11), bool)
    mask[:, :5] = True  # 50 pixels; the middle column belongs to neither half
    mask[:5, 6] = True
    assert side_of(mask) == "right"
    mask[:, 6] = True
    assert side_of(mask) == "both"


@pytest.mark.parametrize(
    ("note", "told"),
    [
        (
            {"source": "download", "file": "a.h5", "sha256": "0123456789abcdef", "arrays": 234},
            "a.h5 (download, 234 arrays, sha256 0123456789ab)",
        ),
        ({"source": "download", "file": "a.h5"}, "a.h5 (download)"),
        (None, None),
    ],
)
def test_the_weights_that_the_encoder_began_with_are_named(run, note, told):
    if note is not None:
        write_text(run.folds[0].path / "encoder_weights.json", json.dumps(note))
    assert dict(facts_of(run)).get("Encoder weights") == told
