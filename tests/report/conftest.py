"""The browser of these tests, and an evaluated run."""

from dataclasses import replace

import pytest
from tests.browser import browser, chromium  # noqa: F401
from tests.report.runs import TRIPLET, make_run

from pneumothorax.inference.decision import Decision
from pneumothorax.report.evaluation import evaluate_run, open_run


@pytest.fixture
def run(tmp_path):
    rule = replace(TRIPLET.rule, min_component=0, classification_threshold=0.3)
    path = make_run(tmp_path, image_probability=True, decision=Decision(rule))
    return evaluate_run(path, *open_run(path))
