"""Files that would keep pydicom busy for ever are refused at once, by the readers of image and header."""

import zlib

import pytest
from tests.data.dicom_files import DEFLATED, GREY, dataset, written

from pneumothorax.data import meta_information
from pneumothorax.data.dicom import UnreadableImageError, read_header, read_radiograph


@pytest.fixture
def refused(tmp_path):
    """Return a function that checks that a file is refused for a reason."""

    def check(content, reason):
        path = tmp_path / "a.dcm"
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match=reason):
            read_radiograph(path)
        assert read_header(path) is None

    return check


def test_a_deep_sequence_in_the_place_of_a_length(refused):
    inner = b"\x02\x00\x00\x00UL\x01\x00\x00"  # damaged, and so pydicom writes out each level twice
    for _ in range(300):
        item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
        inner = b"\x02\x00\x00\x00SQ\x00\x00" + len(item).to_bytes(4, "little") + item
    content = written(dataset(GREY))
    refused(content[:132] + inner + content[144:], "a sequence in the file meta information")


def test_a_small_file_that_unpacks_to_a_large_one(refused, monkeypatch):
    content = written(dataset(GREY, DEFLATED))
    place = 144 + int.from_bytes(content[140:144], "little")
    whole = zlib.decompress(content[place:], -zlib.MAX_WBITS)
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    element = b"\xe2\x7f\x10\x00OB\x00\x00" + (4 << 20).to_bytes(4, "little")
    bomb = packing.compress(whole + element + bytes(4 << 20)) + packing.flush()
    monkeypatch.setattr(meta_information, "MOST_BYTES", 3 << 20)
    refused(content[:place] + bomb, "its deflated data set has more than 3,145,728 bytes")


def test_a_deflated_file_of_an_ordinary_length_is_read(tmp_path):
    (tmp_path / "a.dcm").write_bytes(written(dataset(GREY, DEFLATED)))
    assert read_radiograph(tmp_path / "a.dcm").pixels.shape == GREY.shape
    assert read_header(tmp_path / "a.dcm") is not None
