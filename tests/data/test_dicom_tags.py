"""What the texts of a DICOM file's elements mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.data.dicom_tags import decode_text, years_of


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *[("64", 64), ("064Y", 64), ("18M", 1), ("011M", 0), ("052W", 0), ("053W", 1), ("366D", 1)],
        *[("000", 0), ("120", 120), ("121", None), ("", None), ("Y", None), ("-5", None), ("6 4", None)],
        *[("64X", None), ("6.5", None), ("\u0664", None)],
    ],
)
def test_age_in_every_form(text, years):
    assert years_of(text) == years


@given(st.integers(0, 9999), st.sampled_from(["", "Y", "M", "W", "D"]))
def test_age_is_plausible_or_none(number, unit):
    years = years_of(f"{number:03d}{unit}")
    assert years is None or 0 <= years <= 120
    if unit in ("", "Y"):
        assert years == (number if number <= 120 else None)
    if unit == "M":
        assert years == (number // 12 if number // 12 <= 120 else None)


@given(st.text())
def test_any_text_is_an_age_or_none(text):
    assert years_of(text) is None or text[0].isdigit()


@pytest.mark.parametrize(
    ("value", "names", "wanted"),
    [
        ("Müller-日".encode(), b"ISO_IR 192", "Müller-日"),
        ("Müller-日".encode(), "ISO_IR 192", "Müller-日"),  # as the parser leaves it
        ("Müller".encode("latin-1"), b"ISO_IR 100", "Müller"),
        ("Müller".encode("latin-1"), None, "Müller"),
        ("Иван".encode("iso8859_5"), b"ISO_IR 144", "Иван"),
        (b"\x1b$B;3ED\x1b(B", b"\\ISO 2022 IR 87 ", "山田"),
        (b"M\xfcller", b"ISO_IR 192", "Müller"),  # none of its character set
        (b"M\xfcller", b"nonsense", "Müller"),
        (b"A 1 ", b"ISO_IR 192", "A 1"),
        (None, b"ISO_IR 192", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:(Unknown|Failed)")  # pydicom's; whoever reads a file is quiet
def test_text_is_read_by_its_own_character_set(value, names, wanted):
    assert decode_text({0x00080005: names, 0x00100020: value}, 0x00100020) == wanted


@pytest.mark.filterwarnings("ignore:Failed")
def test_bytes_that_no_character_set_reads_keep_patients_apart():
    ids = {
        decode_text({0x00080005: b"ISO_IR 192", 0x00100020: bytes([n])}, 0x00100020) for n in range(128, 256)
    }
    assert len(ids) == 128
