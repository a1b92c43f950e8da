"""CSV files in every wrapping, and every way in which that can be broken."""

import contextlib
import gzip
import io
import zipfile

import pytest

from pneumothorax.data import tables
from pneumothorax.data.tables import read_rows
from pneumothorax.errors import UserError

CONTENT = b"ImageId,EncodedPixels\na,5 2 1 4\nb,-1\n" * 50
ROWS = [["ImageId", "EncodedPixels"], ["a", "5 2 1 4"], ["b", "-1"]] * 50


def zipped(members, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def read(path, content):
    path.write_bytes(content)
    return list(read_rows(path, "rows"))


@pytest.mark.parametrize(
    "content",
    [
        CONTENT,
        b"\xef\xbb\xbf" + CONTENT,
        gzip.compress(CONTENT),
        gzip.compress(CONTENT[:100]) + gzip.compress(CONTENT[100:]),
        zipped({"out.csv": CONTENT}),
        zipped({"out.csv": CONTENT}, zipfile.ZIP_STORED),
        zipped({"out.csv": CONTENT}, zipfile.ZIP_BZIP2),
        zipped({"out.csv": CONTENT}, zipfile.ZIP_LZMA),
        zipped({"folder/": b"", "folder/out.CSV": CONTENT, "__MACOSX/._out.csv": b"", ".x.csv": b""}),
        zipped({"submission": CONTENT}),
    ],
    ids=["plain", "mark", "gzip", "two gzips", "zip", "stored", "bzip2", "lzma", "macOS", "no suffix"],
)
def test_every_wrapping_holds_the_same_rows(tmp_path, content):
    assert read(tmp_path / "any.name", content) == ROWS


def test_an_archive_of_several_tables_or_of_none_is_not_guessed_at(tmp_path):
    with pytest.raises(UserError, match=r"2 CSV files in .*one.zip \(a.csv, b.csv\); expected one"):
        read(tmp_path / "one.zip", zipped({"a.csv": CONTENT, "b.csv": CONTENT, "readme.txt": b""}))
    with pytest.raises(UserError, match="0 CSV files in"):
        read(tmp_path / "one.zip", zipped({}))


def test_an_archive_that_unpacks_to_any_length_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 2000)
    for content in (b"a,b\n" * 1000, b"a" * 3000):
        with pytest.raises(UserError, match="holds more than 2,000 characters"):
            read(tmp_path / "one", gzip.compress(content))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "content", "message"),
    [
        ("MOST_LINES", b"a,b\n" * 30, "more than 20 lines"),
        ("MOST_LINES", b"\n" * 30, "more than 20 lines"),
        ("MOST_OF_LINE", b"a,b\n" + b"a," * 30, "more than 20 characters in a line"),
        ("MOST_BYTES", "é\n".encode() * 6, "more than 20 characters"),
    ],
)
def test_many_lines_and_a_long_one_are_refused_before_they_fill_the_memory(
    tmp_path, monkeypatch, limit, content, message
):
    monkeypatch.setattr(tables, limit, 20)
    with pytest.raises(UserError, match=f"holds {message}"):
        read(tmp_path / "one", gzip.compress(content))


@pytest.mark.parametrize(
    "packed", [gzip.compress(CONTENT), zipped({"out.csv": CONTENT})], ids=["gzip", "zip"]
)
def test_a_packed_file_that_is_cut_or_changed_anywhere_is_one_line(tmp_path, packed):
    """A changed byte may go unnoticed where it is of no account, such as in a time stamp."""
    for place in range(4, len(packed)):
        with pytest.raises(UserError):
            read(tmp_path / "one", packed[:place])
        for change in (1, 0x80, 0xFF):
            changed = bytearray(packed)
            changed[place] ^= change
            with contextlib.suppress(UserError):
                assert read(tmp_path / "one", bytes(changed)) == ROWS


def test_an_archive_with_a_password_is_one_line(tmp_path):
    packed = bytearray(zipped({"out.csv": CONTENT}))
    packed[6] |= 1  # "encrypted", in the member's header and in the directory's
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match=r"is not a CSV .*password"):
        read(tmp_path / "one.zip", bytes(packed))


def test_a_header_of_lzma_that_asks_for_too_much_memory_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr("lzma.LZMADecompressor", refuse)
    with pytest.raises(UserError, match=r"one.zip takes more memory than there is to unpack it; expected"):
        read(tmp_path / "one.zip", zipped({"out.csv": CONTENT}, zipfile.ZIP_LZMA))


def test_a_file_that_may_not_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*gone \(No such file or directory\); expected rows"):
        list(read_rows(tmp_path / "gone", "rows"))
