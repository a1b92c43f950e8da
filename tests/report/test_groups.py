"""Groups of images: each image is in one at most, and a table of them gives no score of a few."""

from dataclasses import replace

import numpy as np
import pytest

from pneumothorax.report import groups
from pneumothorax.report.groups import LEAST_IMAGES, group_table, list_groups


def test_each_image_with_a_property_is_in_exactly_one_group(run):
    for name in ("view", "sex", "age", "area"):
        flags = np.stack([images for _, _, images in list_groups(run, name)])
        known = run.positive if name == "area" else np.ones(len(run.studies), bool)
        np.testing.assert_array_equal(flags.sum(axis=0), known.astype(int))


def test_rare_values_of_a_tag_are_together_and_unnamed(run):
    views = ["PA"] * 6 + ["", "Mr Smith"]
    odd = replace(run, studies=run.studies.assign(view=views))
    found = {label: int(images.sum()) for label, _, images in list_groups(odd, "view", least=2)}
    assert found == {"PA": 6, "other": 1}
    assert "Mr Smith" in [label for label, _, _ in list_groups(odd, "view")]


def test_the_table_counts_misses_and_false_alarms_and_is_silent_on_few(run, monkeypatch):
    head, rows, _ = group_table(run)
    assert len(run.studies) < LEAST_IMAGES
    assert all(row[3:6] == ("–", "–", "–") and row[7] == "–" for row in rows)
    monkeypatch.setattr(groups, "LEAST_IMAGES", 1)
    _, rows, _ = group_table(run)
    for by, label, positives, mean, _, missed, negatives, alarms in rows:
        if by != "sex":
            continue
        of_sex = (run.studies["sex"] == label).to_numpy()
        sick, healthy = of_sex & run.positive, of_sex & ~run.positive
        assert positives == str(sick.sum()) or not sick.any()
        if sick.any():
            assert float(mean) == pytest.approx(run.dice[sick].mean(), abs=5e-4)
            assert missed == f"{(run.area[sick] == 0).mean():.1%}"
        if healthy.any():
            assert (negatives, alarms) == (str(healthy.sum()), f"{(run.area[healthy] > 0).mean():.1%}")
    assert len(head) == len(rows[0])
    assert {by for by, *_ in rows} >= {"sex", "view", "age, years", "lesion, pixels at 1024x1024"}
