"""Lookup tables of real files: of any depth, packed, empty, hollow, short."""

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_windowing
from tests.data.dicom_files import BIG, IMPLICIT, RAMP, RAW, H, W, dataset, lut

from pneumothorax.data.dicom import UnreadableImageError
from pneumothorax.data.lookup_tables import read_table
from pneumothorax.data.windowing import grey_levels

DEEP = (RAMP.astype(np.uint16) * 16 + 7).clip(0, 4095)
SIGNED = DEEP.astype(np.int16) - 2048
FALLING = np.linspace(1, 0, 4096)


def image(pixels=DEEP, syntax=RAW, **tags):
    return dataset(pixels, syntax, BitsStored=12, **tags)


def item(**values):
    made = pydicom.Dataset()
    for name, (kind, value) in values.items():
        made.add_new(name, kind, value)
    return made


EMPTY = {
    "no item": [],
    "hollow": [item()],
    "no values": [item(LUTDescriptor=("US", None), LUTData=("OW", None))],
    "no entries": [item(LUTDescriptor=("US", [4096, 0, 12]), LUTData=("OW", b""))],
    "no data": [item(LUTDescriptor=("US", [4096, 0, 12]))],
}
BROKEN = {
    "short": ([lut([0, 1, 2], 16)], "LUTData has 3 of the 4,096 entries"),
    "short descriptor": ([lut([0, 1, 2], 16)], "LUTDescriptor has 2 of 3 values"),
    "no descriptor": ([item(LUTData=("OW", b"abcd"))], "LUTDescriptor has 0 of 3 values"),
    "33 bits": ([lut([0, 1, 2], 33)], "LUTDescriptor says 33 bits"),
}
BROKEN["short"][0][0].LUTDescriptor = [4096, 0, 16]
BROKEN["short descriptor"][0][0].LUTDescriptor = [3, 0]


@pytest.mark.parametrize("kind", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_table_is_as_good_as_none(read, kind, case):
    plain = read(image())
    made = read(image(**{kind: EMPTY[case]}))
    np.testing.assert_array_equal(made.pixels, plain.pixels)
    assert made.notes == ()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_modality_table_is_named(read, case):
    table, reason = BROKEN[case]
    with pytest.raises(UnreadableImageError, match=f"ModalityLUTSequence is broken: {reason}") as caught:
        read(image(ModalityLUTSequence=table))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_voi_table_is_passed_over_and_named(read, case):
    table, reason = BROKEN[case]
    made = read(image(VOILUTSequence=table))
    np.testing.assert_array_equal(made.pixels, read(image()).pixels)
    assert [note.startswith(f"VOILUTSequence is broken: {reason}") for note in made.notes] == [True]
    assert made.notes[0].endswith("ignored")


@pytest.mark.parametrize("syntax", [RAW, IMPLICIT, BIG])
@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("kind", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_table_of_any_depth_is_applied(read, kind, bits, syntax):
    entries = np.rint(FALLING * (2**bits - 1)).astype(int).tolist()
    table = lut(entries, bits)
    if syntax == BIG:
        table.add_new("LUTData", "OW", np.array(entries, ">u2").tobytes())
    shown = read(image(syntax=syntax, **{kind: [table]})).pixels
    np.testing.assert_allclose(shown.astype(int), 255 - RAMP, atol=5)


@pytest.mark.parametrize(
    "data",
    [lambda entries: entries.tobytes(), lambda entries: entries.view("<u2").tolist()],
    ids=["OW", "US"],
)
def test_entries_of_8_bits_may_lie_two_in_a_word(read, data):
    entries = np.rint(FALLING * 255).astype(np.uint8)
    value = data(entries)
    table = item(
        LUTDescriptor=("US", [4096, 0, 8]), LUTData=("OW" if isinstance(value, bytes) else "US", value)
    )
    shown = read(image(ModalityLUTSequence=[table])).pixels
    np.testing.assert_allclose(shown.astype(int), 255 - RAMP, atol=5)


@pytest.mark.parametrize("first", [0, 100, 3000, 5000, -2048, -100])
@pytest.mark.parametrize("count", [1, 5, 256, 4096])
def test_a_table_gives_pydicom_s_values(first, count):
    pixels = SIGNED if first < 0 else DEEP
    table = lut(np.random.default_rng(count).integers(0, 65536, count).tolist(), 16, signed=first < 0)
    table.LUTDescriptor = [count, first, 16]
    made = image(pixels, ModalityLUTSequence=[table])
    found = read_table(made, "ModalityLUTSequence", signed=True).apply(pixels)
    np.testing.assert_array_equal(found, apply_modality_lut(pixels.astype(np.int64), made))


def test_65536_entries_are_written_as_0_and_a_first_value_may_lack_its_sign():
    table = lut([0], 16)
    table.LUTData = np.arange(65536, dtype="<u2").tobytes()
    table.LUTDescriptor = [0, 65536 - 2048, 16]
    found = read_table(image(SIGNED, ModalityLUTSequence=[table]), "ModalityLUTSequence", signed=True)
    np.testing.assert_array_equal(found.apply(SIGNED), SIGNED.astype(int) + 2048)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000, 300), (3000.5, 1), (500, 8000)])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -1000}], ids=str)
def test_a_window_gives_pydicom_s_grey_levels(function, center, width, rescale):
    made = image(WindowCenter=center, WindowWidth=width, VOILUTFunction=function, **rescale)
    shown, notes = grey_levels(DEEP, made)
    with np.errstate(over="ignore"):
        wanted = apply_windowing(apply_modality_lut(DEEP, made), made)
        black, white = apply_windowing(np.array([-1e9, 1e9]), made)
    assert notes == []
    np.testing.assert_allclose(shown, (wanted - black) / (white - black) * 255, atol=0.51)


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ({"WindowCenter": 2048, "WindowWidth": 0}, "WindowWidth is 0; ignored"),
        ({"WindowCenter": 9, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "VOILUTFunction is 'CUBIC'"),
        ({"PresentationLUTSequence": [lut([0, 1], 8)]}, "PresentationLUTSequence is ignored"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Invalid")
def test_what_is_passed_over_is_named(read, tags, note):
    made = read(image(**tags))
    np.testing.assert_array_equal(made.pixels, read(image()).pixels)
    assert [found.startswith(note) for found in made.notes] == [True]


def test_the_helper_s_image_is_a_ramp():
    assert DEEP.shape == (H, W)
