"""What passes for a chest radiograph, and what does not."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pneumothorax.data.dicom import read_radiograph
from pneumothorax.data.plausibility import is_flat, looks_like_chest, measure_chest

SIDE = 256


@pytest.fixture(scope="module")
def chests(competition):
    return [read_radiograph(path).pixels for path in sorted((competition / "raw").rglob("*.dcm"))]


def text_page():
    page = np.full((SIDE, SIDE), 245, np.uint8)
    for y in range(16, SIDE, 14):
        cv2.putText(page, "the quick brown fox jumps over", (8, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 20, 1)
    return page


def ramp(axis):
    return np.repeat(np.linspace(0, 255, SIDE).astype(np.uint8)[None], SIDE, 0).swapaxes(0, axis)


OTHERS = {
    "noise": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8),
    "black": np.zeros((SIDE, SIDE), np.uint8),
    "white": np.full((SIDE, SIDE), 255, np.uint8),
    "text": text_page(),
    "ramp across": ramp(0),
    "ramp down": ramp(1),
    "checkers": (np.indices((SIDE, SIDE)).sum(axis=0) // 32 % 2 * 255).astype(np.uint8),
    "ball": cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (SIDE // 2, SIDE // 2), 80, 200, -1),
}


@pytest.mark.slow
def test_chests_of_any_size_pass(chests):
    for chest in chests:
        assert looks_like_chest(chest)
        assert not is_flat(chest)
        assert looks_like_chest(cv2.resize(chest, (64, 64), interpolation=cv2.INTER_AREA))
        assert looks_like_chest(cv2.resize(chest, (300, 400), interpolation=cv2.INTER_AREA))
        assert looks_like_chest(np.pad(chest[100:-100], ((90, 200), (150, 100))))  # a collimator's border


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_chest_does_not_pass(name):
    assert not looks_like_chest(OTHERS[name])


@pytest.mark.slow
def test_chests_on_their_side_on_their_head_and_in_negative_do_not_pass(chests):
    for change in (
        lambda chest: np.rot90(chest),
        lambda chest: np.rot90(chest, 3),
        lambda chest: np.rot90(chest, 2),
        lambda chest: 255 - chest,
    ):
        passed = sum(looks_like_chest(np.ascontiguousarray(change(chest))) for chest in chests)
        assert passed <= 1


def test_a_strip_does_not_pass(chests):
    assert not looks_like_chest(cv2.resize(chests[0], (900, 300)))


def test_flat_is_a_matter_of_contrast():
    assert is_flat(OTHERS["black"])
    assert is_flat((OTHERS["noise"] // 10 + 100).astype(np.uint8))
    assert not is_flat((OTHERS["noise"] // 5 + 100).astype(np.uint8))


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_image_is_judged(image):
    assert looks_like_chest(image) in (True, False)
    assert is_flat(image) in (True, False)
    assert all(np.isfinite(measure_chest(image)))
