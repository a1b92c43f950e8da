"""What the page shows of a case follows from the stored maps and the threshold alone."""

import cv2
import numpy as np
import pytest

from pneumothorax.app.cases import LONGEST, Case, look, with_threshold
from pneumothorax.data.dicom import Radiograph
from pneumothorax.inference.rule import Rule
from pneumothorax.segmentation.findings import find


@pytest.fixture
def case():
    generator = np.random.default_rng(0)
    probability = cv2.resize(generator.integers(0, 256, (4, 4), dtype=np.uint8), (64, 64))
    pixels = generator.integers(0, 256, (1500, 3000), dtype=np.uint8)
    return Case("a.dcm", Radiograph("a", pixels, view="PA"), None, probability, 0.7)


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.99])
def test_findings_and_mask_are_those_of_segment_at_every_threshold(case, threshold):
    rule = with_threshold(Rule(0.4, 0.6, min_area=500), threshold)
    view = look(case, rule)
    findings, mask = find(case.radiograph, case.probability, 0.7, rule)
    assert view.findings == findings
    np.testing.assert_array_equal(view.mask, mask)


def test_a_top_threshold_rises_with_the_threshold():
    rule = Rule(0.4, 0.6, 500)
    assert with_threshold(rule, 0.5) == Rule(0.5, 0.6, 500)
    assert with_threshold(rule, 0.8) == Rule(0.8, 0.8, 500)
    assert with_threshold(Rule(0.4), 0.8) == Rule(0.8)


def test_pictures_are_small_and_of_the_image_s_shape(case):
    view = look(case, Rule())
    assert view.outline.shape == view.heat.shape == (LONGEST // 2, LONGEST, 3)
    assert view.outline.dtype == view.heat.dtype == np.uint8
    assert view.mask.shape == (1500, 3000)


def test_heat_hides_nothing_where_the_probability_is_0():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    probability = np.zeros((8, 8), np.uint8)
    probability[:, :2] = 255
    view = look(Case("a", Radiograph("a", pixels), None, probability, None), Rule())
    np.testing.assert_array_equal(view.heat[:, 30:, 0], pixels[:, 30:])
    assert (view.heat[:, :5] != pixels[:, :5, None]).any()


def test_an_image_of_one_pixel_is_shown():
    pixels = np.full((1, 1), 9, np.uint8)
    view = look(Case("a", Radiograph("a", pixels), None, np.full((8, 8), 255, np.uint8), None), Rule())
    assert view.mask.all()
    assert view.outline.shape == (1, 1, 3)
