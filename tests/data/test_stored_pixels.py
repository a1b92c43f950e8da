"""The standard's list: each transfer syntax, photometric interpretation and depth is read or refused."""

import re
import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.tag import Tag
from tests.data.code_streams import CODE_STREAMS, SLOPE
from tests.data.dicom_files import BIG, DEFLATED, GREY, IMPLICIT, JPEG, RAW, H, W, dataset, jpeg, lut, written

from pneumothorax.data.dicom import UnreadableImageError
from pneumothorax.data.stored_pixels import read_stored

RLE = uid.RLELossless
NATIVE = [RAW, IMPLICIT, BIG, DEFLATED]
RNG = np.random.default_rng(0)
NOISY = "ignore:(Invalid|The value length|A value of type)"  # pydicom's, of what these tests write


def parsed(made, tmp_path):
    path = tmp_path / "one.dcm"
    path.write_bytes(written(made))
    return pydicom.dcmread(path)


def refusal(read, content):
    with pytest.raises(UnreadableImageError) as caught:
        read(content)
    text = str(caught.value)
    assert "\n" not in text
    return text.split(": ", 1)[1]


# --- transfer syntaxes ---


@pytest.mark.parametrize("syntax", [*NATIVE, RLE, *CODE_STREAMS], ids=lambda syntax: uid.UID(syntax).name)
def test_every_still_picture_syntax_is_read(read, tmp_path, syntax):
    most, frame = CODE_STREAMS.get(syntax, (0, None))
    if syntax == RLE:
        made = dataset(SLOPE, BitsStored=12)
        made.compress(RLE, generate_instance_uid=False)
    else:
        made = dataset(SLOPE, syntax, frame, BitsStored=12)
    if not get_decoder(syntax).is_available:
        assert "pip install pylibjpeg" in refusal(read, made)
        return
    stored = read_stored(parsed(made, tmp_path)).values
    assert np.abs(stored.astype(int) - SLOPE).max() <= most
    plain = read(dataset(SLOPE, BitsStored=12), "plain.dcm").pixels
    np.testing.assert_allclose(read(made).pixels.astype(int), plain, atol=most * 255 / SLOPE.max() + 1)


@pytest.mark.parametrize(
    "syntax",
    [
        *("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.110"),
        *("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.1.98", "1.2.826.0.1.3680043.9.9"),
    ],
    ids=["MPEG2", "MPEG-4", "JPEG XL", "JPIP", "encapsulated uncompressed", "private"],
)
def test_other_syntaxes_are_refused_by_name(read, syntax):
    whole, known = written(dataset(GREY, JPEG, b"\xff\xd8 any \xff\xd9")), JPEG.encode()
    at = whole.index(known) - 2  # the writer knows few others
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    reason = refusal(read, whole[:at] + struct.pack("<H", len(value)) + value + whole[at + 2 + len(known) :])
    assert reason.startswith("TransferSyntaxUID ")
    assert reason.endswith(" is not read")


# --- photometric interpretations ---


@pytest.mark.parametrize(
    "photometric", ["ARGB", "CMYK", "HSV", "XYB", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "X"]
)
@pytest.mark.filterwarnings(NOISY)
def test_other_photometric_interpretations_are_refused_by_name(read, photometric):
    made = dataset(np.dstack([GREY] * 3), PhotometricInterpretation=photometric)
    assert refusal(read, made) == f"PhotometricInterpretation {photometric} is not read"


@pytest.mark.parametrize("photometric", ["YBR_ICT", "YBR_RCT"])
def test_colours_of_jpeg_2000_are_refused_elsewhere(read, photometric):
    made = dataset(np.dstack([GREY] * 3), PhotometricInterpretation=photometric)
    assert refusal(read, made) == f"PhotometricInterpretation {photometric} is not read"


@pytest.mark.parametrize(
    ("photometric", "samples"), [("MONOCHROME2", 3), ("MONOCHROME1", 3), ("PALETTE COLOR", 3), ("RGB", 1)]
)
def test_samples_that_do_not_fit_are_refused(read, photometric, samples):
    pixels = np.dstack([GREY] * 3) if samples == 3 else GREY
    reason = refusal(read, dataset(pixels, PhotometricInterpretation=photometric))
    assert reason == f"SamplesPerPixel is {samples}; expected {4 - samples} of {photometric}"


@pytest.mark.parametrize("syntax", [RAW, IMPLICIT, BIG])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_uncompressed_ybr_is_read_as_by_pydicom(read, tmp_path, photometric, syntax):
    ybr = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])
    made = dataset(ybr, syntax, PhotometricInterpretation=photometric)
    if photometric.endswith("422"):
        pairs = GREY.reshape(H, W // 2, 2)
        grey = np.full_like(pairs, 128)
        made.PixelData = np.concatenate([pairs, grey], axis=2).tobytes()
    np.testing.assert_allclose(read(made).pixels.astype(int), GREY, atol=1)
    again = parsed(made, tmp_path)
    np.testing.assert_array_equal(read_stored(again).values, parsed(made, tmp_path).pixel_array)


@pytest.mark.parametrize("photometric", ["YBR_ICT", "YBR_RCT"])
def test_colour_jpeg_2000_becomes_grey(read, photometric):
    syntax, file = uid.JPEG2000Lossless, BytesIO()
    if not get_decoder(syntax).is_available:
        pytest.skip("no JPEG 2000 decoder")
    rgb = np.dstack([GREY] * 3)
    Image.fromarray(rgb).save(file, "JPEG2000", no_jp2=True, mct=1, irreversible=photometric == "YBR_ICT")
    made = dataset(rgb, syntax, file.getvalue(), PhotometricInterpretation=photometric)
    np.testing.assert_allclose(read(made).pixels.astype(int), GREY, atol=3)


def test_a_broken_palette_is_named(read):
    made = dataset(GREY, PhotometricInterpretation="PALETTE COLOR")
    assert refusal(read, made).startswith("the PaletteColorLookupTable is broken: ")


# --- depths ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("syntax", "allocated", "stored", "high"),
    [
        *[(syntax, 16, n, h) for syntax in (RAW, BIG) for n in (6, 10, 12, 15) for h in {n - 1, n, 15}],
        *[(syntax, 8, *bits) for syntax in (RAW, BIG) for bits in ((6, 5), (6, 7), (7, 7))],
        *[(syntax, 32, 20, high) for syntax in (RAW, BIG) for high in (19, 31)],
        *[(RLE, 16, n, h) for n in (10, 12, 15) for h in {n - 1, n, 15}],  # its encoder knows no others
    ],
)
def test_only_the_stored_bits_count(tmp_path, signed, syntax, allocated, stored, high):
    least = -(2 ** (stored - 1)) if signed else 0
    wanted = RNG.integers(least, least + 2**stored, (H, W))
    lowest, mask = high - stored + 1, 2**stored - 1
    rubbish = RNG.integers(0, 2**allocated, (H, W)) & ~(mask << lowest)
    words = ((wanted & mask) << lowest | rubbish).astype(f"u{allocated // 8}")
    made = dataset(
        words.view(words.dtype.str.replace("u", "i")) if signed else words, syntax if syntax != RLE else RAW
    )
    made.BitsStored, made.HighBit = stored, high
    if syntax == RLE:
        made.compress(RLE, generate_instance_uid=False)
    found = read_stored(parsed(made, tmp_path)).values
    np.testing.assert_array_equal(found, wanted)
    if high == stored - 1:  # pydicom looks at no other
        np.testing.assert_array_equal(found, parsed(made, tmp_path).pixel_array)


@pytest.mark.parametrize("high", [None, 3, 16, 99])
def test_a_high_bit_that_makes_no_sense_is_the_usual_one(tmp_path, high):
    made = dataset(SLOPE, BitsStored=12)
    made.HighBit = high
    np.testing.assert_array_equal(read_stored(parsed(made, tmp_path)).values, SLOPE)


def test_an_overlay_in_the_high_bits_is_no_part_of_the_picture(read):
    overlay = np.zeros(SLOPE.shape, np.uint16)
    overlay[3:9] = 1 << 15
    made = dataset(SLOPE | overlay, BitsStored=12)
    made.add_new(0x60000100, "US", 16)
    made.add_new(0x60000102, "US", 15)
    np.testing.assert_array_equal(read(made).pixels, read(dataset(SLOPE, BitsStored=12)).pixels)


def test_one_bit_is_read(read, tmp_path):
    bits = (GREY > 127).astype(np.uint8)
    made = dataset(bits, BitsStored=1)
    made.BitsAllocated, made.PixelData = 1, np.packbits(bits, bitorder="little").tobytes()
    np.testing.assert_array_equal(read(made).pixels, bits * 255)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("syntax", NATIVE)
def test_whole_numbers_of_8_to_32_bits_are_read(read, kind, syntax):
    info = np.iinfo(kind)
    ramp = np.linspace(info.min, info.max, H * W).reshape(H, W).astype(kind)
    shown = read(dataset(ramp, syntax)).pixels
    np.testing.assert_allclose(shown, np.linspace(0, 255, H * W).reshape(H, W), atol=3)


@pytest.mark.parametrize(("kind", "keyword"), [("f4", "FloatPixelData"), ("f8", "DoubleFloatPixelData")])
def test_float_pixels_of_both_lengths_are_read(read, kind, keyword):
    made = dataset(np.zeros((H, W), kind))
    del made.PixelData
    setattr(made, keyword, np.linspace(-1, 1, H * W).astype(kind).tobytes())
    shown = read(made).pixels
    np.testing.assert_allclose(shown, np.linspace(0, 255, H * W).reshape(H, W), atol=3)


@pytest.mark.parametrize(
    ("bits", "reason"),
    [(12, "BitsAllocated 12 is not read in PixelData"), (24, "BitsAllocated 24 "), (64, "BitsAllocated 64 ")],
)
def test_other_depths_are_refused_by_name(read, bits, reason):
    assert refusal(read, dataset(SLOPE, BitsStored=12, BitsAllocated=bits)).startswith(reason)


# --- broken files ---


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"PixelData": b""}, "PixelData is empty"),
        (
            {"PixelData": SLOPE.tobytes() * 2},
            "PixelData has 3,840 bytes, enough for 2 frames; expected one of 1,920",
        ),
        (
            {"PixelData": SLOPE.tobytes()[:-2]},
            "PixelData has 1,918 bytes, less than expected from Rows and Columns, 1,920",
        ),
        ({"BitsStored": 17}, "BitsStored is 17, more than BitsAllocated, 16"),
        ({"BitsStored": 0}, "BitsStored is 0, not a whole number from 1 to 64"),
        ({"PixelRepresentation": 7}, "PixelRepresentation is 7, not a whole number from 0 to 1"),
        ({"SamplesPerPixel": None}, "SamplesPerPixel is missing"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation is missing"),
        ({"NumberOfFrames": 2}, "NumberOfFrames: 2 frames; expected one"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_in_the_attributes_words(read, tags, reason):
    made = dataset(SLOPE, BitsStored=12)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    assert refusal(read, made) == reason


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless])
def test_a_frame_header_of_another_shape_is_refused(read, syntax):
    """libjpeg would take for ever where it announces no line."""
    stream = bytearray(CODE_STREAMS[syntax][1])
    place = stream.rindex(b"\x00\x18\x00\x28")
    stream[place : place + 2] = b"\0\0"
    reason = refusal(read, dataset(SLOPE, syntax, bytes(stream), BitsStored=12))
    assert reason == "a JPEG image of shape (0, 40); expected (24, 40), from Rows and Columns"


def test_a_few_bytes_too_many_are_padding(read):
    made = dataset(SLOPE, BitsStored=12)
    made.PixelData += bytes(10)
    np.testing.assert_array_equal(read(made).pixels, read(dataset(SLOPE, BitsStored=12)).pixels)


@pytest.mark.parametrize("syntax", [JPEG, RLE])
def test_encapsulated_pixels_that_are_empty_or_of_two_frames_are_refused(read, syntax):
    made = dataset(GREY, syntax, jpeg(GREY))
    made.PixelData = encapsulate([jpeg(GREY)] * 2)
    assert refusal(read, made) == "PixelData holds 2 frames; expected one"
    made.PixelData = encapsulate([jpeg(GREY)])[:8]  # the table of offsets alone
    assert refusal(read, made).startswith("PixelData ")


NUMBERS = {
    **dict.fromkeys(
        ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PixelRepresentation"),
        "refused",
    ),
    **dict.fromkeys(("NumberOfFrames", "RescaleSlope", "RescaleIntercept"), "refused"),
    **dict.fromkeys(("WindowCenter", "WindowWidth", "PixelPaddingValue", "HighBit"), "ignored"),
    "PixelSpacing": "ignored",
}
FULL = {
    **{"RescaleSlope": 1, "RescaleIntercept": 0, "NumberOfFrames": 1, "PixelSpacing": [0.2, 0.2]},
    **{"WindowCenter": 2000, "WindowWidth": 4000, "PixelPaddingValue": 1},
}


@pytest.mark.parametrize("kind", ["LO", "IS", "DS"])
@pytest.mark.parametrize("keyword", NUMBERS)
@pytest.mark.filterwarnings(NOISY)
def test_text_in_a_number_s_place_is_named(read, keyword, kind):
    made = dataset(SLOPE, BitsStored=12, **FULL)
    tag = Tag(keyword)
    made._dict[tag] = RawDataElement(tag, kind, 6, b"wide o", 0, False, True)
    if NUMBERS[keyword] == "ignored":
        assert read(made).pixels.any()
    else:
        assert refusal(read, made) == f"{keyword} is 'wide o', not a number"


@pytest.mark.filterwarnings(NOISY)
def test_a_number_of_another_representation_is_a_number(read):
    made = dataset(SLOPE, BitsStored=12)
    tag = Tag("Rows")
    made._dict[tag] = RawDataElement(tag, "IS", 2, b"24", 0, False, True)
    assert read(made).pixels.shape == SLOPE.shape


PARSER = ("file position", "unpack", "buffer", "struct", "tag (", "OpenCV", "NoneType", "literal", "object")


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.filterwarnings(NOISY)
def test_a_file_that_ends_early_anywhere_is_one_line_without_a_parser_s_words(read, syntax, undefined):
    made = dataset(SLOPE, syntax, BitsStored=12, **FULL)
    made.ModalityLUTSequence = [lut(list(range(40)), 12)]
    made.VOILUTSequence = [lut(list(range(40)), 12)]
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        made[name].is_undefined_length = undefined
        made[name].value[0].is_undefined_length_sequence_item = undefined
    whole = written(made)
    read(whole)
    for end in range(1, len(whole) - 8, 11):
        reason = refusal(read, whole[:end])
        assert not any(word in reason for word in PARSER), (end, reason)


@pytest.mark.parametrize("syntax", [RAW, IMPLICIT, DEFLATED, JPEG])
@pytest.mark.filterwarnings("ignore")
def test_any_damage_of_a_header_is_one_line_without_a_parser_s_words(read, syntax):
    made = dataset(GREY, syntax, jpeg(GREY) if syntax == JPEG else None, **FULL)
    made.VOILUTSequence = [lut(list(range(40)), 12)]
    whole, rng = written(made), np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(132, min(len(whole), 1000), rng.integers(1, 4)):
            damaged[at] = rng.choice([0, 255, ord("a"), rng.integers(256)])
        with warnings.catch_warnings():
            try:
                read(bytes(damaged))
            except UnreadableImageError as error:
                reason = str(error).split(": ", 1)[1]
                assert "\n" not in reason
                assert not any(word in reason for word in PARSER), reason


def test_every_test_that_the_table_of_files_names_exists():
    here = Path(__file__)
    table = (here.parents[2] / "docs" / "segment.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", table))
    texts = [path.read_text() for path in here.parent.glob("test_*.py")]
    defined = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    assert len(named) > 30
    assert named <= defined
