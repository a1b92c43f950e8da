"""What a radiograph file may be, and what `read_radiograph` makes of it. Every file is written here."""

import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from tests.data.dicom_files import (
    BIG,
    DEFLATED,
    GREY,
    IMPLICIT,
    J2K,
    JPEG,
    RAMP,
    RAW,
    H,
    W,
    dataset,
    jpeg,
    lut,
    written,
)

from pneumothorax.data import codecs, dicom
from pneumothorax.data.dicom import UnreadableImageError, read_radiograph
from pneumothorax.errors import UserError

NOISY = (
    "ignore:(Invalid|The value length|A value of type)"  # pydicom's complaints about what these tests write
)


def competition(**tags: Any) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        facts = {
            "SOPInstanceUID": "ID_0011fe81e",
            "PatientAge": "64",
            "PatientSex": "F",
            "ViewPosition": "PA",
        }
        return dataset(
            GREY, JPEG, jpeg(GREY), **{**facts, "PixelSpacing": [0.139, 0.143], "PatientID": "", **tags}
        )


# --- the competition's own files ---


def test_competition_file_is_the_jpeg_s_own_pixels_and_its_facts(read):
    made = read(competition())
    np.testing.assert_array_equal(made.pixels, cv2.imdecode(np.frombuffer(jpeg(GREY), np.uint8), 0))
    assert made.pixels.dtype == np.uint8
    facts = (made.image_id, made.view, made.sex, made.age, made.spacing_mm, made.patient_id)
    assert facts == ("ID_0", "PA", "F", 64, (0.139, 0.143), None)


def test_short_way_gives_the_pixels_of_the_long_way(read, monkeypatch):
    short = read(competition())
    monkeypatch.setattr(dicom, "_competition_elements", lambda data: {})
    long = read(competition())
    np.testing.assert_array_equal(short.pixels, long.pixels)
    fields = ("image_id", "view", "sex", "age", "spacing_mm", "patient_id")
    assert [getattr(short, f) for f in fields] == [getattr(long, f) for f in fields]


def test_short_way_does_not_use_pydicom_s_decoder(read, monkeypatch):
    monkeypatch.setattr(dicom, "_rendered", lambda dataset: pytest.fail("the long way"))
    read(competition())


def test_many_threads_leave_the_warning_filters_as_they_were(tmp_path):
    path = tmp_path / "ID_0.dcm"
    path.write_bytes(written(competition(WindowCenter=128, WindowWidth=200)))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_radiograph, [path] * 100))
    assert list(warnings.filters) == before


def test_jpeg_in_several_fragments_is_joined(read):
    made = competition()
    made.PixelData = encapsulate([jpeg(GREY)], fragments_per_frame=3)
    np.testing.assert_array_equal(read(made).pixels, read(competition()).pixels)


# --- grey levels ---


@pytest.mark.parametrize("syntax", [RAW, IMPLICIT, BIG, DEFLATED])
def test_8_bit_passes_untouched_in_every_uncompressed_encoding(read, syntax):
    np.testing.assert_array_equal(read(dataset(GREY, syntax)).pixels, GREY)


@pytest.mark.parametrize("syntax", [RAW, IMPLICIT, BIG])
def test_file_without_preamble_and_header_is_read(read, syntax):
    np.testing.assert_array_equal(read(dataset(GREY, syntax), preamble=False).pixels, GREY)


def test_rle_is_read(read):
    made = dataset(GREY)
    made.compress(uid.RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read(made).pixels, GREY)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": 1, "RescaleIntercept": 0},
        {"RescaleSlope": None, "RescaleIntercept": None, "WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 128, "WindowWidth": 256},
        {"WindowCenter": 128, "WindowWidth": 0},
        {"WindowCenter": 9000, "WindowWidth": 10},
        {"NumberOfFrames": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("compressed", [False, True])
def test_8_bit_stays_untouched_under_tags_that_change_nothing_or_make_no_sense(read, tags, compressed):
    made = dataset(GREY, JPEG, jpeg(GREY), **tags) if compressed else dataset(GREY, **tags)
    np.testing.assert_array_equal(read(made).pixels, read(competition()).pixels if compressed else GREY)


DEEP = (RAMP.astype(np.uint16) * 16 + 7).clip(0, 4095)
SIGNED = DEEP.astype(np.int16) - 2048


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (DEEP, {"BitsStored": 12}),
        (DEEP, {}),
        (DEEP * 16, {"BitsStored": 16}),
        (SIGNED, {"BitsStored": 12}),
        (SIGNED, {"RescaleSlope": 2, "RescaleIntercept": -1000}),
        (RAMP, {"RescaleSlope": 16, "RescaleIntercept": -5}),
        (RAMP // 4, {"BitsStored": 6}),
        (DEEP, {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}),
        (SIGNED, {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 4096}),
        (DEEP, {"BitsStored": 12, "WindowCenter": [2048, 9], "WindowWidth": [4096, 9]}),
        (DEEP, {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": ""}),
        (DEEP, {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 0}),
        (DEEP, {"BitsStored": 12, "WindowCenter": -9000, "WindowWidth": 10}),
    ],
    ids=str,
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_ramp_of_any_depth_becomes_the_8_bit_ramp(read, pixels, tags, photometric):
    shown = read(dataset(pixels, PhotometricInterpretation=photometric, **tags)).pixels
    wanted = 255 - RAMP if photometric == "MONOCHROME1" else RAMP
    assert shown.dtype == np.uint8
    np.testing.assert_allclose(shown.astype(int), wanted, atol=5)  # a percentile of a ramp cuts a little


def test_monochrome1_jpeg_is_inverted(read):
    inverted = read(competition(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"))
    np.testing.assert_array_equal(inverted.pixels, 255 - read(competition()).pixels)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        *[("MONOCHROME1", "INVERSE", True), ("MONOCHROME2", "IDENTITY", False)],
        *[("MONOCHROME1", "IDENTITY", False), ("MONOCHROME2", "INVERSE", True)],  # as dcmtk shows them
        *[("MONOCHROME1", "OTHER", True), ("MONOCHROME2", None, False)],
    ],
)
def test_presentation_lut_shape_decides_and_a_contradiction_is_named(
    read, photometric, shape, inverted, compressed
):
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    made = read(competition(**tags) if compressed else dataset(GREY, **tags))
    plain = read(competition()).pixels if compressed else GREY
    np.testing.assert_array_equal(made.pixels, 255 - plain if inverted else plain)
    contradicts = shape in ("INVERSE", "IDENTITY") and inverted != (photometric == "MONOCHROME1")
    wanted = (f"PresentationLUTShape {shape} contradicts {photometric}, and is followed",)
    assert made.notes == (wanted if contradicts else ())


def test_window_cuts_and_stretches(read):
    shown = read(dataset(DEEP, BitsStored=12, WindowCenter=1000, WindowWidth=1001)).pixels
    wanted = ((DEEP - 999.5) / 1000 + 0.5).clip(0, 1) * 255
    np.testing.assert_allclose(shown, wanted, atol=1)


def test_window_applies_after_rescale(read):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 1900, "WindowWidth": 2001}
    shown = read(dataset(DEEP, BitsStored=12, **tags)).pixels
    np.testing.assert_allclose(shown, ((DEEP * 2.0 - 100 - 1899.5) / 2000 + 0.5).clip(0, 1) * 255, atol=1)


@pytest.mark.parametrize(
    ("center", "width"),
    [
        *[("nan", "nan"), ("inf", "inf"), ("2048", "nan"), ("nan", "100"), ("2048", "inf"), ("abc", "def")],
        *[("100", "0"), ("100", "-5"), ("2048\\nan", "100\\9")],
    ],
)
def test_a_window_that_is_none_is_passed_over(read, center, width):
    made = dataset(DEEP, BitsStored=12)
    for tag, text in ((0x00281050, center), (0x00281051, width)):
        value = text.encode() + b" " * (len(text) % 2)
        made._dict[pydicom.tag.Tag(tag)] = RawDataElement(
            pydicom.tag.Tag(tag), "DS", len(value), value, 0, False, True
        )
    np.testing.assert_array_equal(read(made).pixels, read(dataset(DEEP, BitsStored=12)).pixels)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": -2048, "WindowWidth": 4096}], ids=str)
def test_negative_slope_inverts_with_and_without_window(read, window):
    shown = read(dataset(DEEP, BitsStored=12, RescaleSlope=-1, RescaleIntercept=0, **window)).pixels
    np.testing.assert_allclose(shown.astype(int), 255 - RAMP, atol=5)


def test_sigmoid_window_is_monotone_and_centred(read):
    tags = {"WindowCenter": 2048, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"}
    row = read(dataset(DEEP, BitsStored=12, **tags)).pixels[0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] < 5
    assert row[-1] > 250


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (4095, 12), (4095, 16), (65535, 16)])
def test_voi_table_is_applied_whatever_depth_it_claims(read, top, bits):
    table = lut([round(i / 4095 * top) for i in range(4096)], bits)
    shown = read(dataset(DEEP, BitsStored=12, VOILUTSequence=[table])).pixels
    np.testing.assert_allclose(shown.astype(int), RAMP, atol=2)


def test_falling_modality_table_inverts(read):
    table = lut([65535 - i * 16 for i in range(4096)], 16)
    shown = read(dataset(DEEP, BitsStored=12, ModalityLUTSequence=[table])).pixels
    np.testing.assert_allclose(shown.astype(int), 255 - RAMP, atol=5)


@pytest.mark.parametrize("level", [0, 7, 4000])
def test_flat_deep_image_becomes_black(read, level):
    assert not read(dataset(np.full((H, W), level, np.uint16), BitsStored=12)).pixels.any()


def test_float_pixels_are_read(read):
    made = dataset(RAMP.astype(np.float32))
    made.FloatPixelData = (RAMP / np.float32(255)).tobytes()
    del made.PixelData
    np.testing.assert_allclose(read(made).pixels.astype(int), RAMP, atol=5)


# --- colour ---

RGB = np.dstack([GREY] * 3)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_becomes_grey(read, planar):
    made = dataset(RGB, PlanarConfiguration=planar)
    if planar:
        made.PixelData = RGB.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(read(made).pixels, GREY)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL"])
def test_colour_jpeg_becomes_grey(read, photometric):
    made = dataset(RGB, JPEG, jpeg(RGB), PhotometricInterpretation=photometric)
    np.testing.assert_allclose(read(made).pixels.astype(int), read(competition()).pixels, atol=3)


def test_palette_becomes_grey(read):
    made = dataset(GREY, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 8])
        made.add_new(f"{colour}PaletteColorLookupTableData", "OW", bytes(range(255, -1, -1)))
    np.testing.assert_array_equal(read(made).pixels, 255 - GREY)


# --- other codes ---


@pytest.mark.parametrize("pixels", [GREY, DEEP], ids=["8 bit", "16 bit"])
def test_jpeg_2000_is_read(read, pixels):
    if not get_decoder(J2K).is_available:
        pytest.skip("no JPEG 2000 decoder")
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", no_jp2=True)
    plain = read(dataset(pixels), "plain.dcm").pixels
    np.testing.assert_array_equal(read(dataset(pixels, J2K, file.getvalue())).pixels, plain)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm"])
def test_code_that_needs_a_plugin_is_read_or_names_the_plugin(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom's test files are not installed")
    if "pylibjpeg" in get_decoder(pydicom.dcmread(path).file_meta.TransferSyntaxUID).available_plugins:
        assert read_radiograph(Path(path)).pixels.any()
    else:
        with pytest.raises(UnreadableImageError, match="pip install pylibjpeg pylibjpeg-libjpeg"):
            read_radiograph(Path(path))


@pytest.mark.skipif(get_decoder(uid.HTJ2KLossless).is_available, reason="the decoder is installed")
def test_missing_decoder_names_what_to_install(read):
    with pytest.raises(
        UnreadableImageError, match=r"High-Throughput.*pip install pylibjpeg .*pylibjpeg-openjpeg"
    ):
        read(dataset(GREY, uid.HTJ2KLossless, b"\xff\x4f\xff\x51" + bytes(40) + b"\xff\xd9"))


# --- plain files ---


@pytest.mark.parametrize(
    ("pixels", "wanted"),
    [
        (GREY, GREY),
        (RGB, GREY),
        (np.dstack([GREY] * 3 + [np.full_like(GREY, 9)]), GREY),
        (RAMP.astype(np.uint16) * 100, RAMP),
        (np.dstack([RAMP.astype(np.uint16) * 100] * 3), RAMP),
    ],
    ids=["grey", "colour", "alpha", "16 bit", "16 bit colour"],
)
def test_png_is_read(read, pixels, wanted):
    made = read(cv2.imencode(".png", pixels)[1].tobytes(), "1_train_0_.png")
    assert made.image_id == "1_train_0_"
    assert made.patient_id is None
    np.testing.assert_allclose(made.pixels.astype(int), wanted, atol=0 if pixels.itemsize == 1 else 5)


def test_flat_16_bit_png_becomes_black(read):
    assert not read(png(np.full((H, W), 65535, np.uint16)), "a.png").pixels.any()


@pytest.mark.parametrize("mode", ["P", "LA", "1"])
def test_png_of_pillow_s_other_modes_is_read(read, mode):
    file = BytesIO()
    bits = Image.fromarray(np.where(GREY > 127, 255, 0).astype(np.uint8)).convert(mode)
    bits.save(file, "PNG")
    np.testing.assert_array_equal(read(file.getvalue(), "a.PNG").pixels, np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "colour"])
def test_jpeg_file_is_read_under_any_name(read, image):
    for name in ("a.jpg", "a.jpeg", "a.dcm"):
        np.testing.assert_allclose(
            read(jpeg(image), name).pixels.astype(int), read(competition()).pixels, atol=3
        )


def test_jpeg_file_with_bytes_after_its_end_is_whole(read):
    np.testing.assert_array_equal(
        read(jpeg(GREY) + b"camera's own", "a.jpg").pixels, read(jpeg(GREY), "b.jpg").pixels
    )


def test_suffixless_uid_keeps_its_last_part(read):
    assert read(dataset(GREY), "1.2.840.5").image_id == "1.2.840.5"
    assert read(dataset(GREY), "1.2.840.5.dcm").image_id == "1.2.840.5"


# --- refusals ---


def without(made: pydicom.Dataset, name: str) -> pydicom.Dataset:
    delattr(made, name)
    return made


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


REFUSED: dict[str, tuple[bytes | pydicom.Dataset, str]] = {
    "empty": (b"", "empty"),
    "text": (b"ImageId,EncodedPixels\nID_1,-1\n" * 30, "not a DICOM, PNG or JPEG"),
    "short text": (b"-1", "not a DICOM, PNG or JPEG"),
    "resource fork": (b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(200), "not a DICOM, PNG or JPEG"),
    "zeros": (bytes(5000), "not a DICOM, PNG or JPEG"),
    "only a preamble": (bytes(128) + b"DICM", "without pixels"),
    "no pixels": (without(dataset(GREY), "PixelData"), "without pixels"),
    "no rows": (without(dataset(GREY), "Rows"), "Rows"),
    "no rows, jpeg": (without(competition(), "Rows"), "Rows"),
    "no photometric": (without(dataset(GREY), "PhotometricInterpretation"), "Photometric"),
    "zero rows": (dataset(GREY, Rows=0), "Rows"),
    "zero rows, jpeg": (competition(Rows=0), "Rows"),
    "other rows, jpeg": (competition(Rows=H + 1), "Rows"),
    "too few bytes": (dataset(GREY, Rows=H + 5), "less than expected"),
    "several frames": (dataset(GREY, Rows=H // 2, NumberOfFrames=2), "2 frames"),
    "cut dicom": (written(dataset(GREY))[:-300], "less than expected"),
    "cut dicom header": (written(dataset(GREY))[:300], "without pixels"),
    "cut jpeg in whole dicom": (dataset(GREY, JPEG, jpeg(GREY)[:-200]), "cut short"),
    "broken jpeg in dicom": (dataset(GREY, JPEG, b"\xff\xd8 nonsense \xff\xd9"), "broken"),
    "cut window jpeg": (dataset(GREY, JPEG, jpeg(GREY)[:-200], WindowCenter=9, WindowWidth=9), "cut short"),
    "cut colour jpeg": (
        dataset(RGB, JPEG, jpeg(RGB)[:-200], PhotometricInterpretation="YBR_FULL"),
        "cut short",
    ),
    "cut png": (png(GREY)[:-40], "cut short"),
    "cut jpeg": (jpeg(GREY)[:-40], "cut short"),
    "cut to magic": (png(GREY)[:8], "cut short"),
    "broken png": (png(GREY)[:20] + bytes(20) + png(GREY)[40:], "broken"),
    "slope 0": (dataset(DEEP, RescaleSlope=0, RescaleIntercept=0), "RescaleSlope"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unreadable_file_is_refused_in_one_line_that_names_it(read, case):
    content, reason = REFUSED[case]
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read(content, "ID_bad.dcm")
    assert "ID_bad.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_truncated_competition_file_is_refused_wherever_it_is_cut(read, kept):
    whole = written(competition())
    with pytest.raises(UnreadableImageError):
        read(whole[: int(len(whole) * kept)])


def test_truncated_jpeg_2000_is_refused(read):
    file = BytesIO()
    Image.fromarray(GREY).save(file, "JPEG2000", no_jp2=True)
    with pytest.raises(UnreadableImageError, match="cut short"):
        read(dataset(GREY, J2K, file.getvalue()[:-100]))


def test_truncated_jpeg_with_a_whole_thumbnail_is_refused(read):
    thumbnail = b"\xff\xe1\0\x0cxx\xff\xda..\xff\xd9.."
    with_thumbnail = jpeg(GREY)[:2] + thumbnail + jpeg(GREY)[2:]
    read(with_thumbnail, "whole.jpg")
    with pytest.raises(UnreadableImageError, match="cut short"):
        read(with_thumbnail[:-30], "cut.jpg")


# Of a size that damage does not end a block for block by chance, as it may in the small image.
LARGE = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (256, 256), dtype=np.uint8), (5, 5), 0)


def damaged(data: bytes, how: str) -> bytes:
    """Damage the middle of a JPEG image's compressed data, its markers left as they are."""
    middle = len(data) // 2
    other = {
        "other bytes": np.random.default_rng(2).integers(0, 255, 500, dtype=np.uint8).tobytes(),
        "zeros": bytes(500),
        "no bytes": b"",
    }
    return data[:middle] + other[how] + data[middle + 500 :]


@pytest.mark.parametrize("how", ["other bytes", "zeros", "no bytes"])
@pytest.mark.parametrize("kind", ["competition", "window", "colour", "file", "colour file"])
def test_damaged_jpeg_is_refused(read, kind, how):
    pytest.importorskip("simplejpeg")
    image = np.dstack([LARGE, LARGE.T, LARGE]) if "colour" in kind else LARGE
    tags = {
        "window": {"WindowCenter": 99, "WindowWidth": 99},
        "colour": {"PhotometricInterpretation": "YBR_FULL"},
    }

    def content(frame: bytes) -> pydicom.Dataset | bytes:
        return frame if "file" in kind else dataset(image, JPEG, frame, **tags.get(kind, {}))

    assert read(content(jpeg(image))).pixels.shape == LARGE.shape
    with pytest.raises(UnreadableImageError, match="a damaged image"):
        read(content(damaged(jpeg(image), how)))


@pytest.mark.parametrize("image", [GREY, LARGE, LARGE[:201, :77]], ids=lambda image: str(image.shape))
@pytest.mark.parametrize("quality", [10, 95])
def test_strict_decoder_gives_opencv_s_pixels(read, image, quality):
    pytest.importorskip("simplejpeg")
    frame = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    np.testing.assert_array_equal(
        read(dataset(image, JPEG, frame.tobytes())).pixels, cv2.imdecode(frame, cv2.IMREAD_GRAYSCALE)
    )


def test_without_the_strict_decoder_whole_images_are_the_same(read, monkeypatch):
    strict = read(competition()).pixels
    monkeypatch.setattr(codecs, "simplejpeg", None)
    np.testing.assert_array_equal(read(competition()).pixels, strict)
    assert read(jpeg(RGB), "a.jpg").pixels.shape == (H, W)


@pytest.mark.parametrize("syntax", [JPEG, J2K])
def test_an_item_that_is_not_all_there_is_refused(read, syntax):
    frame = jpeg(GREY)  # its end marker stays, so that nothing but the length tells
    made = dataset(GREY, syntax, frame)
    whole = encapsulate([frame])
    at = whole.index(frame)
    made.PixelData = whole[: at + 300] + whole[at + 320 : at + len(frame)]
    with pytest.raises(UnreadableImageError, match=r"cut short \([\d,]+ of [\d,]+ bytes of its pixels\)"):
        read(made)


def header_of_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def header_of_jpeg(width: int, height: int) -> bytes:
    data = bytearray(jpeg(GREY))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        header_of_png(200_000, 200_000),
        header_of_jpeg(65_000, 65_000),
        dataset(GREY, JPEG, header_of_jpeg(65_000, 65_000), Rows=65_000, Columns=65_000),
    ],
    ids=["png", "jpeg", "dicom"],
)
def test_a_size_beyond_reason_is_refused_in_words(read, content):
    with pytest.raises(UnreadableImageError, match="its header announces more pixels than") as caught:
        read(content)
    assert "OpenCV" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(read, value):
    made = dataset(RAMP.astype(np.float32))
    made.FloatPixelData = np.full((H, W), value, np.float32).tobytes()
    del made.PixelData
    with pytest.raises(UnreadableImageError, match="finite"):
        read(made)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"gone\.dcm: No such file"):
        read_radiograph(tmp_path / "gone.dcm")
    with pytest.raises(UnreadableImageError, match="directory"):
        read_radiograph(tmp_path)


def test_refusal_survives_the_way_from_a_worker(tmp_path):
    with pytest.raises(UserError) as caught:
        read_radiograph(tmp_path / "gone.dcm")
    back = pickle.loads(pickle.dumps(caught.value))
    assert type(back) is UnreadableImageError
    assert str(back) == str(caught.value)


# --- facts ---


@pytest.mark.parametrize(
    ("tags", "field", "wanted"),
    [
        ({"ViewPosition": "ap"}, "view", "AP"),
        ({"ViewPosition": ""}, "view", None),
        ({"ViewPosition": "LATERAL"}, "view", "LATERAL"),
        ({"PatientSex": "O"}, "sex", None),
        ({"PatientSex": "M"}, "sex", "M"),
        ({"PatientAge": "152"}, "age", None),
        ({"PatientAge": "034Y"}, "age", 34),
        ({"PatientAge": "old"}, "age", None),
        ({"PatientID": "A 1"}, "patient_id", "A 1"),
        ({"PatientID": "Müller-日", "SpecificCharacterSet": "ISO_IR 192"}, "patient_id", "Müller-日"),
        ({"PatientID": "Müller", "SpecificCharacterSet": "ISO_IR 100"}, "patient_id", "Müller"),
        ({"PixelSpacing": [1000, 1000]}, "spacing_mm", None),
        ({"PixelSpacing": [1000, 1000]}, "spacing_refused", True),
        ({"PixelSpacing": [0.2, 0.3]}, "spacing_refused", False),
        ({"PixelSpacing": None}, "spacing_refused", False),
        ({"PixelSpacing": [1000, 9], "ImagerPixelSpacing": [0.2, 0.3]}, "spacing_refused", False),
        ({"PixelSpacing": [0, 0.1]}, "spacing_mm", None),
        ({"PixelSpacing": [-1, 0.1], "ImagerPixelSpacing": [0.2, 0.3]}, "spacing_mm", (0.2, 0.3)),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.3]}, "spacing_mm", (0.2, 0.3)),
        ({"PixelSpacing": [0.2, 0.3]}, "at_detector", False),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.3]}, "at_detector", True),
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.2, 0.3]}, "at_detector", True),
        ({"PixelSpacing": [0.18, 0.27], "ImagerPixelSpacing": [0.2, 0.3]}, "at_detector", False),
        ({"Modality": "mg"}, "modality", "MG"),
        ({"Modality": None}, "modality", None),
        ({"BodyPartExamined": "Hand"}, "body_part", "HAND"),
        ({"PatientOrientation": ["L", "F"]}, "columns_to", "L"),
        ({"PatientOrientation": ["R", "F"]}, "columns_to", "R"),
        ({"PatientOrientation": None}, "columns_to", None),
    ],
    ids=str,
)
@pytest.mark.parametrize("syntax", [JPEG, RAW, IMPLICIT, BIG, DEFLATED])
@pytest.mark.filterwarnings(NOISY)
def test_facts_are_told_or_none(read, tags, field, wanted, syntax):
    made = competition(**tags) if syntax == JPEG else dataset(GREY, syntax, **tags)
    assert getattr(read(made), field) == wanted


def test_missing_transfer_syntax_is_guessed(read):
    whole = written(dataset(GREY))
    syntax = b"\x02\0\x10\0UI\x14\0" + RAW.encode() + b"\0"
    assert syntax in whole
    np.testing.assert_array_equal(read(whole.replace(syntax, b"")).pixels, GREY)


def test_file_without_facts_is_read(read):
    made = read(dataset(GREY))
    assert (made.view, made.sex, made.age, made.spacing_mm, made.patient_id) == (None,) * 5
