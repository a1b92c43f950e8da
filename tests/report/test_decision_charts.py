from dataclasses import replace

import numpy as np
import pytest

from pneumothorax.inference.pixel_counts import judge
from pneumothorax.inference.rule import Rule
from pneumothorax.report.decision_charts import emptied, sweep


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_a_rule_empties_and_marks_are_all_images(run):
    rows = emptied(run)
    marked, *_ = [row for row in rows if row[0] == "marked"]
    assert int(marked[3]) == np.count_nonzero(run.area)
    assert sum(int(row[3]) for row in rows[:-1]) == len(run.studies)
    assert any("classification threshold" in row[0] and int(row[3]) for row in rows)
    plain = judge(run.parts[0], Rule(run.decision.rule.threshold)).mean()
    assert rows[-1][-1] == f"{plain:.4f}"
