"""The run-length code, pixel by pixel: where the field loses points first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pneumothorax.data import rle
from pneumothorax.data.rle import RLEError, area, decode, encode
from pneumothorax.errors import UserError

EXAMPLE = np.array([[0, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]], dtype=np.uint8)
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


def one_pixel(row: int, column: int, shape: tuple[int, int] = (4, 4)) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[row, column] = 1
    return mask


CASES = [
    pytest.param(EXAMPLE, "5 2 1 4", id="the competition's example"),
    pytest.param(one_pixel(0, 0), "0 1", id="first pixel"),
    pytest.param(one_pixel(3, 3), "15 1", id="last pixel"),
    pytest.param(one_pixel(1023, 1023, rle.SHAPE), "1048575 1", id="last pixel of a real image"),
    pytest.param(one_pixel(2, 1), "6 1", id="one pixel in the middle counts down the columns"),
    pytest.param(np.ones((4, 4), np.uint8), "0 16", id="full"),
    pytest.param(np.zeros((4, 4), np.uint8), "-1", id="empty"),
    pytest.param(np.ones((1, 1), np.uint8), "0 1", id="a mask of one pixel"),
    pytest.param(one_pixel(1, 4, (2, 5)), "9 1", id="last pixel of a wide mask"),
    pytest.param(one_pixel(4, 1, (5, 2)), "9 1", id="last pixel of a tall mask"),
    pytest.param(one_pixel(0, 1, (5, 2)), "5 1", id="second column of a tall mask"),
    pytest.param(np.eye(3, dtype=np.uint8), "0 1 3 1 3 1", id="several runs"),
]


@pytest.mark.parametrize(("mask", "text"), CASES)
def test_mask_and_text_say_the_same(mask, text):
    assert encode(mask) == text
    back = decode(text, mask.shape)
    np.testing.assert_array_equal(back, mask)
    assert back.dtype == np.uint8
    assert area(text, mask.shape) == mask.sum()


@pytest.mark.parametrize(
    "mask",
    [
        EXAMPLE.astype(bool),
        EXAMPLE * np.uint8(255),
        EXAMPLE.astype(np.int64) * -3,
        EXAMPLE.astype(np.uint16) * 256,
        np.asfortranarray(EXAMPLE),
        np.repeat(EXAMPLE, 2, axis=1)[:, ::2],
        EXAMPLE.tolist(),
    ],
    ids=["bool", "0 and 255", "negative", "low byte 0", "columns first", "strided", "lists"],
)
def test_every_value_but_0_is_foreground_in_every_memory_order(mask):
    assert encode(mask) == "5 2 1 4"


@pytest.mark.parametrize(
    "mask",
    [EXAMPLE.astype(float), EXAMPLE[..., None], EXAMPLE.ravel(), EXAMPLE.astype(str), np.float32(0.3)],
    ids=["floats", "3-D", "1-D", "text", "a number"],
)
def test_what_is_no_mask_is_refused_with_its_type_and_shape(mask):
    with pytest.raises(TypeError, match=r"found .* of shape .*; expected bool or integers of shape \(H, W\)"):
        encode(mask)


@given(arrays.arrays(np.bool_, SHAPES))
def test_decode_undoes_encode(mask):
    text = encode(mask)
    np.testing.assert_array_equal(decode(text, mask.shape), mask)
    assert area(text, mask.shape) == np.count_nonzero(mask)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1), st.booleans(), st.integers(1, 7)
)
def test_encode_undoes_decode_of_canonical_text(pairs, from_the_first_pixel, height):
    """Canonical: no run touches the next, that is, only the first gap may be 0."""
    pairs[0] = (0 if from_the_first_pixel else pairs[0][0], pairs[0][1])
    text = " ".join(f"{gap} {length}" for gap, length in pairs)
    total = sum(map(sum, pairs))
    shape = (height, -(-total // height))
    assert encode(decode(text, shape)) == text
    assert area(text, shape) == sum(length for _, length in pairs) == decode(text, shape).sum()


@pytest.mark.parametrize("text", ["0 1 0 1", " 0 2", "0 2\n", "\t0  2 ", "00 02"])
def test_text_that_is_not_canonical_is_read_all_the_same(text):
    assert encode(decode(text, (2, 2))) == "0 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "1 numbers in run-length text; expected pairs of gap and length"),
        ("5 2 1", "3 numbers in run-length text; expected pairs of gap and length"),
        ("-5 2", "gap -5 as number 1 of run-length text; expected 0 or more (runs may not overlap)"),
        ("5 2 -1 4", "gap -1 as number 3 of run-length text; expected 0 or more (runs may not overlap)"),
        ("-1 4", "gap -1 as number 1 of run-length text; expected 0 or more (runs may not overlap)"),
        ("5 two", "'two' as number 2 of run-length text; expected whole numbers"),
        ("5 2 1.0 4", "'1.0' as number 3 of run-length text; expected whole numbers"),
        ("5,2", "'5,2' as number 1 of run-length text; expected whole numbers"),
        ("1_0 2", "'1_0' as number 1 of run-length text; expected whole numbers"),
        ("+5 2", "'+5' as number 1 of run-length text; expected whole numbers"),
        ("٥ 2", "'٥' as number 1 of run-length text; expected whole numbers"),
        ("nan", "'nan' as number 1 of run-length text; expected whole numbers"),
        (
            "0 " + "9" * 5000,
            "99999999999999999999... as number 2 of run-length text; expected at most 16 pixels",
        ),
        ("5\xa02", r"'5\xa02' as number 1 of run-length text; expected whole numbers"),
        ("\xa0-1", r"'\xa0-1' as number 1 of run-length text; expected whole numbers"),
        ("5 2\u2003", r"'2\u2003' as number 2 of run-length text; expected whole numbers"),
        ("5 2\x1c0 1", r"'2\x1c0' as number 2 of run-length text; expected whole numbers"),
        ("5\x002", r"'5\x002' as number 1 of run-length text; expected whole numbers"),
        ("0000000000000000000005 2 0", "3 numbers in run-length text; expected pairs of gap and length"),
        (f"5 {10**20}", "10000000000000000000... as number 2 of run-length text; expected at most 16 pixels"),
        ("15 2", "a run to pixel 17 (number 2 of run-length text); expected at most 16 pixels"),
        ("0 1 15 1", "a run to pixel 17 (number 4 of run-length text); expected at most 16 pixels"),
        ("99 1 -7 1", "a run to pixel 100 (number 2 of run-length text); expected at most 16 pixels"),
        ("5 0", "length 0 as number 2 of run-length text; expected 1 or more"),
        ("5 2 1 -4", "length -4 as number 4 of run-length text; expected 1 or more"),
        ("", "empty run-length text; expected 'gap length' pairs or -1"),
        (" \n", "empty run-length text; expected 'gap length' pairs or -1"),
    ],
)
def test_malformed_text_says_what_and_where(text, message):
    for read in (decode, area):
        with pytest.raises(RLEError) as caught:
            read(text, (4, 4))
        assert str(caught.value) == message
        assert isinstance(caught.value, UserError)
        assert isinstance(caught.value, ValueError)
