"""A map comes back to the image's own pixels, and what is said of it is true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.data.cache import shrink
from pneumothorax.data.dicom import Radiograph
from pneumothorax.inference.decision import decide
from pneumothorax.inference.rule import Rule
from pneumothorax.segmentation.findings import MOST_BOXES, doubts, find

S = 16
HALF = Rule(0.5)


def radiograph(shape=(64, 96), **facts):
    return Radiograph("one", np.zeros(shape, np.uint8), **facts)


def see(mask, **facts):
    """Find a mask by a network that sees it as it is, stretched to a square."""
    probability = shrink(mask.astype(np.uint8) * 255, S, "area")
    return find(radiograph(mask.shape, **facts), probability, None, HALF)


def rectangle(shape, top, bottom, left, right):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, S), st.integers(0, S)),
    st.booleans(),
)
def test_an_edge_on_the_border_of_cells_comes_back_to_the_pixel(scales, ends, upright):
    shape = (S * scales[0], S * scales[1])
    first, last = sorted(ends)
    if upright:
        mask = rectangle(shape, first * scales[0], last * scales[0], 0, shape[1])
    else:
        mask = rectangle(shape, 0, shape[0], first * scales[1], last * scales[1])
    np.testing.assert_array_equal(see(mask)[1], mask)


@given(
    st.tuples(st.integers(S, 150), st.integers(S, 150)),
    st.floats(0, 0.7),
    st.floats(0, 0.7),
    st.floats(0.25, 0.6),
    st.sampled_from(["area", "bilinear", "bicubic"]),
)
def test_any_edge_of_any_image_comes_back_within_half_a_cell(shape, top, left, length, interpolation):
    (height, width), cell = shape, (shape[0] / S, shape[1] / S)
    mask = rectangle(
        shape,
        int(top * height),
        int((top + length) * height),
        int(left * width),
        int((left + length) * width),
    )
    found = decide(shrink(mask.astype(np.uint8) * 255, S, interpolation), HALF, shape)
    for axis in (0, 1):
        wanted, got = (np.flatnonzero(one.any(axis=1 - axis)) for one in (mask, found))
        assert abs(wanted[0] - got[0]) <= cell[axis] / 2 + 1
        assert abs(wanted[-1] - got[-1]) <= cell[axis] / 2 + 1


def test_corners_lose_less_than_a_quarter_of_a_cell():
    mask = rectangle((64, 160), 16, 40, 40, 120)
    lost = np.argwhere(see(mask)[1] != mask)
    corners = np.array([(16, 40), (16, 120), (40, 40), (40, 120)])
    distance = np.abs(lost[:, None] + 0.5 - corners) / (4, 10)  # in cells
    assert 0 < len(lost) < 4 * 4 * 10 / 4
    assert distance.max(axis=2).min(axis=1).max() < 0.5


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (65, 97), (1024, 331)])
def test_boxes_areas_and_shares_are_those_of_the_mask(shape):
    height, width = shape
    mask = rectangle(shape, 0, height // 2, 0, width) & rectangle(shape, 0, height, 0, width // 2)
    findings, found = see(mask, spacing_mm=(2, 5))
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    assert findings.boxes == [(0, 0, columns[-1] + 1, rows[-1] + 1)]
    assert findings.regions == 1
    assert findings.area_pixels == found.sum()
    assert findings.area_cm2 == pytest.approx(found.sum() * 10 / 100, abs=0.006)
    assert findings.share == pytest.approx(found.mean(), abs=1e-6)
    assert abs(findings.share - 0.25) < 0.02


def test_the_largest_region_comes_first_and_not_all_of_many_are_told():
    mask = rectangle((64, 64), 0, 8, 0, 8) | rectangle((64, 64), 32, 64, 32, 64)
    findings, _ = see(mask)
    assert findings.boxes == [(32, 32, 32, 32), (0, 0, 8, 8)]
    dots = np.zeros((64, 64), np.uint8)
    dots[::4, ::4] = 255
    findings, _ = find(radiograph((64, 64)), dots, None, HALF)
    assert (findings.regions, len(findings.boxes)) == (256, MOST_BOXES)


@pytest.mark.parametrize(
    ("facts", "sides"),
    [
        ({}, ("right", "left", "both")),
        ({"view": "PA"}, ("right", "left", "both")),
        ({"view": "AP", "columns_to": "L"}, ("right", "left", "both")),
        ({"view": "AP", "columns_to": "R"}, ("left", "right", "both")),
        ({"view": "LL"}, ("unknown",) * 3),
        ({"view": "PA", "columns_to": "A"}, ("unknown",) * 3),
    ],
    ids=str,
)
def test_the_left_of_a_frontal_image_is_the_patients_right(facts, sides):
    left, right = rectangle((48, 80), 8, 24, 5, 30), rectangle((48, 80), 8, 24, 50, 75)
    assert tuple(see(mask, **facts)[0].side for mask in (left, right, left | right)) == sides
    assert see(np.zeros((48, 80), bool), **facts)[0].side == ""


def test_probability_is_the_image_probability_where_it_is_told_and_confidence_that_of_the_mask():
    probability = np.zeros((S, S), np.uint8)
    probability[4:8] = 204
    findings, _ = find(radiograph((S, S)), probability, None, HALF)
    assert (findings.probability, findings.confidence, findings.pneumothorax) == (0.8, 0.8, True)
    findings, _ = find(radiograph((S, S)), probability, 0.3, HALF)
    assert (findings.probability, findings.confidence, findings.pneumothorax) == (0.3, 0.8, True)
    findings, mask = find(radiograph((S, S)), probability, 0.3, Rule(classification_threshold=0.4))
    assert (findings.probability, findings.confidence, findings.pneumothorax) == (0.3, 0.7, False)
    assert not mask.any()
    assert (findings.area_pixels, findings.regions, findings.boxes) == (0, 0, [])
    assert findings.area_cm2 is None


CHESTLESS = "does not look like a frontal chest radiograph"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "no pixel spacing"),
        ({"spacing_refused": True}, "an implausible pixel spacing"),
        ({"spacing_mm": (5.0, 5.0), "at_detector": True}, "at the detector"),
        ({"spacing_mm": (0.143, 0.143)}, "the image before it was shrunk: no area in cm2"),
        ({"modality": "MG"}, "not a plain radiograph (modality MG)"),
        ({"body_part": "HAND"}, "not of the chest (body part HAND)"),
        ({"view": "LL"}, "a lateral view (LL)"),
        ({"view": "LLO"}, "not a frontal view (LLO)"),
        ({"coloured": True}, "in colour"),
        ({"covered": 0.35}, "much of it is no image by its own file and shown black (35%)"),
        ({"for_processing": True}, "raw data of the detector (FOR PROCESSING)"),
        ({"notes": ("WindowWidth is 0; ignored",)}, "WindowWidth is 0; ignored"),
    ],
    ids=str,
)
def test_what_the_file_tells_against_an_image_is_said(facts, told):
    assert any(told in doubt for doubt in doubts(radiograph(**facts)))


@pytest.mark.parametrize(
    ("millimetres", "side", "told"),
    [
        (0.143, 1024, False),  # the competition's own files: NIH's films of 43 cm, shrunk
        (0.19431, 1024, False),
        (0.143, 2991, True),  # the same film as it was
        (0.1, 2400, True),  # a newborn's on 18 x 24 cm
    ],
)
def test_a_spacing_of_a_larger_image_gives_no_area(millimetres, side, told):
    mask = rectangle((side, side), 0, side // 2, 0, side // 2)
    findings, found = see(mask, spacing_mm=(millimetres, millimetres))
    assert found.any()
    if told:
        assert findings.area_cm2 == pytest.approx(found.sum() * millimetres**2 / 100, abs=0.006)
    else:
        assert findings.area_cm2 is None


def test_an_area_names_the_attributes_that_it_follows_from():
    mask = rectangle((64, 96), 0, 32, 0, 48)
    assert see(mask, spacing_mm=(5.0, 5.0), spacing_source="PixelSpacing")[0].spacing_source == "PixelSpacing"
    shrunk, _ = see(mask, spacing_mm=(0.143, 0.143), spacing_source="PixelSpacing")
    assert (shrunk.area_cm2, shrunk.spacing_source) == (None, "")
    assert see(mask)[0].spacing_source == ""


def test_a_narrow_border_of_no_image_is_not_said():
    assert not any("no image" in doubt for doubt in doubts(radiograph(covered=0.2)))


def test_a_refused_spacing_is_said_once():
    assert sum("spacing" in doubt for doubt in doubts(radiograph(spacing_refused=True))) == 1


def test_what_is_usual_is_not_said():
    usual = {"modality": "DX", "body_part": "PORT CHEST", "view": "AP", "spacing_mm": (5.0, 5.0)}
    assert doubts(radiograph(**usual)) == ["nearly flat", CHESTLESS]
    assert CHESTLESS not in doubts(radiograph(view="RL"))
