"""Which size of a pixel counts, and which is believed."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pneumothorax.data.spacing import Spacing, read_spacing, spacing_of

FACTOR = "EstimatedRadiographicMagnificationFactor"
SHAPE = (1024, 1000)


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_spacing_survives_its_text(row, column):
    assume((row, column) != (1, 1))
    assert spacing_of(f"{row!r}\\{column!r}") == (row, column)


@given(st.text())
def test_any_text_is_a_spacing_or_none(text):
    spacing = spacing_of(text)
    assert spacing is None or min(spacing) > 0


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        *[("1e200\\1e200", (9, 9)), ("1000\\1000", (9, 9)), ("0.001\\0.1", (9, 9)), ("0.1\\11", (9, 9))],
        *[("nan\\nan", (9, 9)), ("inf\\0.1", (9, 9)), ("2\\0.1", (1024, 9)), ("0.1\\2", (9, 1024))],
        *[("1\\1", (300, 300)), ("1.000\\1", (300, 300)), ("0.35\\0.35", (1024, 1430))],
    ],
)
def test_a_spacing_that_no_radiograph_has_is_none(text, shape):
    assert spacing_of(text, shape) is None


def test_a_coarse_spacing_of_a_small_image_is_one():
    assert spacing_of("9\\9", (32, 32)) == (9, 9)


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ({}, Spacing(None, "", False, False)),
        ({"PixelSpacing": "0.35\\0.34"}, Spacing((0.35, 0.34), "PixelSpacing", False, False)),
        (
            {"PixelSpacing": "0.35\\0.35", "ImagerPixelSpacing": "0.4\\0.4", FACTOR: "1.1"},
            Spacing((0.35, 0.35), "PixelSpacing", False, False),
        ),
        (
            {"PixelSpacing": "0.35\\0.35", "ImagerPixelSpacing": "0.350\\0.35"},
            Spacing((0.35, 0.35), "PixelSpacing", True, False),
        ),
        (
            {
                "PixelSpacing": "0.35\\0.35",
                "ImagerPixelSpacing": "0.35\\0.35",
                "PixelSpacingCalibrationType": "GEOMETRY",
                FACTOR: "1.1",
            },
            Spacing((0.35, 0.35), "PixelSpacing (GEOMETRY)", False, False),
        ),
        (
            {"PixelSpacing": "0.4\\0.4", "ImagerPixelSpacing": "0.4\\0.4", FACTOR: "1.25"},
            Spacing((0.32, 0.32), f"PixelSpacing / {FACTOR} (1.25)", False, False),
        ),
        (
            {"ImagerPixelSpacing": "0.4\\0.2", FACTOR: "1.25"},
            Spacing((0.32, 0.16), f"ImagerPixelSpacing / {FACTOR} (1.25)", False, False),
        ),
        *[
            (
                {"ImagerPixelSpacing": "0.4\\0.4", FACTOR: text},
                Spacing((0.4, 0.4), "ImagerPixelSpacing", True, False),
            )
            for text in ("", "0", "0.9", "17", "-1.1", "nan", "inf", "about 1.1", "1.1\\1.2")
        ],
        (
            {"ImagerPixelSpacing": "0.4\\0.4", "NominalScannedPixelSpacing": "0.3\\0.3"},
            Spacing((0.4, 0.4), "ImagerPixelSpacing", True, False),
        ),
        (
            {"NominalScannedPixelSpacing": "0.3\\0.3"},
            Spacing((0.3, 0.3), "NominalScannedPixelSpacing", True, False),
        ),
        ({"PixelSpacing": "1\\1"}, Spacing(None, "", False, True)),
        ({"ImagerPixelSpacing": "1\\1"}, Spacing(None, "", False, True)),
        ({"NominalScannedPixelSpacing": "5\\5"}, Spacing(None, "", False, True)),
        (
            {"PixelSpacing": "1\\1", "ImagerPixelSpacing": "0.4\\0.4"},
            Spacing((0.4, 0.4), "ImagerPixelSpacing", True, False),
        ),
    ],
    ids=str,
)
def test_the_standard_decides_which_spacing_counts(texts, wanted):
    found = read_spacing(texts, SHAPE)
    assert (found.source, found.at_detector, found.refused) == (
        wanted.source,
        wanted.at_detector,
        wanted.refused,
    )
    assert found.millimetres == (None if wanted.millimetres is None else pytest.approx(wanted.millimetres))
