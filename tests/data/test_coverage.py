"""Pixels that a file declares to be no image: left out of the contrast, and shown black."""

import cv2
import numpy as np
import pytest
from tests.data.dicom_files import BIG, GREY, IMPLICIT, JPEG, RAW, H, W, dataset, jpeg

SCENE = cv2.resize(GREY, (60, 50), interpolation=cv2.INTER_CUBIC).astype(np.int32) * 16
BORDER = np.ones(SCENE.shape, bool)
BORDER[6:-6, 8:-8] = False
INNER = (slice(6, -6), slice(8, -8))
LUTS = {"WindowCenter": 2000, "WindowWidth": 1500}


def padded(value, signed=False, photometric="MONOCHROME2", tag=None, syntax=RAW, bits=16, **tags):
    """An image with a border of one value, which the tag says."""
    kind = np.int16 if signed else np.uint16
    pixels = np.where(BORDER, value, SCENE).astype(kind)
    made = dataset(pixels, syntax, BitsStored=bits, PhotometricInterpretation=photometric, **tags)
    made.add_new("PixelPaddingValue", "SS" if signed else "US", value if tag is None else tag)
    return made


@pytest.fixture
def unpadded(read):
    """The inside alone, by which a padded one is judged."""

    def shown(**tags):
        cut = np.ascontiguousarray(SCENE[INNER]).astype(np.uint16)
        return read(dataset(cut, BitsStored=16, **tags), "cut.dcm").pixels

    return shown


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("value", "signed"), [(0, False), (5000, False), (65535, False), (-2000, True), (0, True), (-32768, True)]
)
@pytest.mark.parametrize("window", [{}, LUTS], ids=str)
def test_padding_of_any_value_gives_the_picture_of_the_inside(
    read, unpadded, value, signed, photometric, window
):
    made = read(padded(value, signed, photometric, **window))
    wanted = unpadded(PhotometricInterpretation=photometric, **window)
    np.testing.assert_array_equal(made.pixels[INNER], wanted)
    assert not made.pixels[BORDER].any()
    assert made.covered == pytest.approx(BORDER.mean(), abs=0.02)


@pytest.mark.parametrize("syntax", [RAW, IMPLICIT, BIG])
def test_padding_is_found_in_every_encoding(read, unpadded, syntax):
    made = read(padded(-2000, True, syntax=syntax))
    np.testing.assert_array_equal(made.pixels[INNER], unpadded())


def test_the_same_picture_without_the_tag_has_another_contrast(read, unpadded):
    made = padded(-2000, True)
    del made.PixelPaddingValue
    assert np.abs(read(made).pixels[INNER].astype(int) - unpadded()).mean() > 20


def test_padding_with_the_sign_of_another_representation_counts(read, unpadded):
    made = padded(-2000, True)
    made.add_new("PixelPaddingValue", "US", 63536)
    np.testing.assert_array_equal(read(made).pixels[INNER], unpadded())


def test_padding_in_bits_that_are_not_stored_counts_by_its_word(read, unpadded):
    made = padded(63536, bits=12)  # its twelve bits alone, 2096, are a pixel's value
    shown = read(made).pixels
    assert not shown[BORDER].any()
    np.testing.assert_array_equal(shown[INNER], unpadded())


def test_values_that_no_word_can_hold_are_no_padding(read):
    made = padded(0, bits=12)
    plain = read(made).pixels
    made.add_new("PixelPaddingValue", "SL", 100000)
    made.PixelPaddingRangeLimit = 5
    assert read(made).covered == 0
    assert plain.shape == SCENE.shape


@pytest.mark.parametrize("limits", [(4200, 5000), (5000, 4200)])
def test_a_range_of_padding_counts_with_both_its_ends(read, unpadded, limits):
    made = padded(limits[0])
    pixels = np.where(BORDER, np.linspace(4200, 5000, SCENE.size).reshape(SCENE.shape), SCENE)
    made.PixelData = pixels.astype(np.uint16).tobytes()
    made.add_new("PixelPaddingRangeLimit", "US", limits[1])
    np.testing.assert_array_equal(read(made).pixels[INNER], unpadded())


def test_padding_is_a_stored_value_before_rescale(read, unpadded):
    made = padded(0, RescaleSlope=-1, RescaleIntercept=4095)
    wanted = unpadded(RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_array_equal(read(made).pixels[INNER], wanted)
    assert not read(made).pixels[BORDER].any()


def test_8_bit_pixels_stay_as_they_are_but_for_the_padding(read):
    pixels = np.where(GREY < 100, 255, GREY).astype(np.uint8)
    for made in (dataset(pixels), dataset(pixels, JPEG, jpeg(pixels))):
        plain = read(made).pixels
        made.add_new("PixelPaddingValue", "US", 255)
        np.testing.assert_array_equal(read(made).pixels, np.where(plain == 255, 0, plain))


def test_float_pixels_have_their_own_padding(read, unpadded):
    pixels = np.where(BORDER, np.float32(-1e30), SCENE.astype(np.float32))
    made = dataset(pixels, FloatPixelPaddingValue=-1e30)
    made.FloatPixelData = pixels.tobytes()
    del made.PixelData
    np.testing.assert_array_equal(read(made).pixels[INNER], unpadded())


def test_an_image_of_nothing_but_padding_is_black(read):
    made = dataset(np.full((H, W), 700, np.uint16), BitsStored=12)
    made.add_new("PixelPaddingValue", "US", 700)
    found = read(made)
    assert not found.pixels.any()
    assert found.covered == 1


@pytest.mark.parametrize("text", ["abc", "nan"])
def test_padding_that_is_no_number_is_passed_over_and_named(read, text):
    made = padded(0)
    made.add_new("PixelPaddingValue", "LO", text)
    found = read(made)
    assert found.covered == 0
    assert [note.startswith("PixelPaddingValue is ") for note in found.notes] == [True]


BOTTOM, RIGHT = SCENE.shape[0] - 6, SCENE.shape[1] - 8
RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterUpperHorizontalEdge": 7,
    "ShutterLowerHorizontalEdge": BOTTOM,
    "ShutterLeftVerticalEdge": 9,
    "ShutterRightVerticalEdge": RIGHT,
}
POLYGON = {
    "ShutterShape": "POLYGONAL",
    "VerticesOfThePolygonalShutter": [7, 9, 7, RIGHT, BOTTOM, RIGHT, BOTTOM, 9],
}


def shuttered(border=4000, **tags):
    return dataset(np.where(BORDER, border, SCENE).astype(np.uint16), BitsStored=12, **tags)


@pytest.mark.parametrize("shutter", [RECTANGLE, POLYGON], ids=["rectangle", "polygon"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_shutter_gives_the_picture_of_its_inside(read, unpadded, shutter, photometric):
    made = read(shuttered(PhotometricInterpretation=photometric, **shutter))
    np.testing.assert_array_equal(made.pixels[INNER], unpadded(PhotometricInterpretation=photometric))
    assert not made.pixels[BORDER].any()
    assert made.covered == pytest.approx(BORDER.mean())


def test_a_circular_shutter_leaves_its_circle(read):
    circle = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [20, 30], "RadiusOfCircularShutter": 10}
    rows, columns = np.mgrid[1 : SCENE.shape[0] + 1, 1 : SCENE.shape[1] + 1]
    inside = (rows - 20) ** 2 + (columns - 30) ** 2 <= 100
    made = read(shuttered(**circle))
    assert made.covered == pytest.approx(1 - inside.mean())
    assert not made.pixels[~inside].any()
    assert {made.pixels[inside].min(), made.pixels[inside].max()} == {0, 255}


def test_of_several_shutters_each_counts(read):
    both = {
        **RECTANGLE,
        "ShutterShape": ["RECTANGULAR", "CIRCULAR"],
        "CenterOfCircularShutter": [1, 1],
        "RadiusOfCircularShutter": 20,
    }
    rows, columns = np.mgrid[: SCENE.shape[0], : SCENE.shape[1]]
    made = read(shuttered(**both))
    assert made.covered == pytest.approx((BORDER | (rows**2 + columns**2 > 400)).mean())


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ({"ShutterShape": "RECTANGULAR"}, "ShutterUpperHorizontalEdge has 0 values"),
        ({**RECTANGLE, "ShutterLowerHorizontalEdge": 3}, "ShutterShape leaves nothing"),
        ({**RECTANGLE, "ShutterShape": "BITMAP"}, "ShutterShape is 'BITMAP'"),
        (
            {**POLYGON, "VerticesOfThePolygonalShutter": [1, 2, 3]},
            "VerticesOfThePolygonalShutter has 3 values",
        ),
    ],
    ids=str,
)
def test_a_broken_shutter_is_passed_over_and_named(read, tags, note):
    made = read(shuttered(**tags))
    np.testing.assert_array_equal(made.pixels, read(shuttered()).pixels)
    assert [found.startswith(note) for found in made.notes] == [True]


def test_an_empty_shutter_is_none(read):
    assert read(shuttered(ShutterShape=None)).notes == ()


def test_a_shutter_covers_colours_too(read):
    rgb = np.dstack([GREY] * 3)
    shutter = {**RECTANGLE, "ShutterLowerHorizontalEdge": H, "ShutterRightVerticalEdge": W}
    shown = read(dataset(rgb, PlanarConfiguration=0, **shutter)).pixels
    np.testing.assert_array_equal(shown[6:, 8:], GREY[6:, 8:])
    assert not shown[:6].any()
    assert not shown[:, :8].any()
