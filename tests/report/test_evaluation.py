"""What the report says of a run equals what the package's own parts say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.report.runs import make_run

from pneumothorax.data import rle
from pneumothorax.data.columns import read_studies, write_studies
from pneumothorax.data.folds import patients_of
from pneumothorax.data.laterality import side_of
from pneumothorax.inference.decision import Decision, decide
from pneumothorax.inference.evaluate import evaluate
from pneumothorax.inference.pixel_counts import judge
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.recipes import RECIPES
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.report.summary import facts_of
from pneumothorax.workspace import write_text


@pytest.mark.slow
def test_table_1_is_that_of_training(run):
    (part,) = run.parts
    assert run.table_1 == evaluate(part, run.recipe.interpolation, run.recipe.smooth)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_metric_has_the_interval_of_its_patients_unless_tune_has_earned_another(run):
    low, high = bootstrap(run.dice, patients_of(run.studies))
    assert run.metric() == (run.dice.mean(), low, high)
    assert not run.is_nested
    tuned = replace(run.decision, score=0.7, low=0.6, high=0.8, images=len(run.studies))
    nested = replace(run, decision=tuned, is_tuned=True)
    assert nested.metric() == (0.7, 0.6, 0.8)
    assert not replace(nested, part="test part").is_nested
    assert not replace(nested, decision=replace(tuned, images=3)).is_nested


@pytest.mark.slow
def test_a_perfect_classifier_scores_what_the_threshold_scores_on_positives_and_one_on_others(run):
    each = judge(run.parts[0], Rule(run.decision.rule.threshold))
    assert run.ceiling() == pytest.approx(np.where(run.positive, each, 1.0).mean())


@pytest.mark.slow
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


def test_a_fold_whose_table_lacks_a_column_has_empty_values_there(tmp_path):
    path = make_run(tmp_path, folds=2, number=2, shape=(64, 64))
    table = path / "fold1" / "out_of_fold" / "studies.csv"
    write_studies(table, read_studies(table).drop(columns=["path", "patient"]))
    run = evaluate_run(path, *open_run(path))
    assert (
        run.studies[["path", "patient"]].map(bool).to_numpy().tolist() == [[True] * 2] * 2 + [[False] * 2] * 2
    )


@pytest.mark.slow
def test_a_network_of_positives_alone_is_shown_by_a_plain_cut(tmp_path):
    recipe = replace(RECIPES["seed"], size=64, interpolation="area")
    path = make_run(tmp_path, decision=Decision(Rule(min_area=2**20)), recipe=recipe)
    run = evaluate_run(path, *open_run(path))
    assert run.decision == Decision()
    assert run.area.any()


@pytest.mark.slow
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
