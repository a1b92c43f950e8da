"""CSV files as they circulate: plain, gzipped, zipped, or a browser's second copy.

Knows rows and cells, but not their columns.
"""

import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from pneumothorax.errors import UserError

# Limits of an unpacked file, so that none takes gigabytes of memory. The largest of the competition has 13 MB
# and 12,954 rows; the longest code of a mask, of a checkerboard, has 4 MB.
MOST_BYTES, MOST_LINES, MOST_OF_LINE = 2**29, 2**20, 2**24

csv.field_size_limit(2**31 - 1)  # the masks of an untrained network are longer than the usual 131,072

# Suffixes of second copies: Chrome, Firefox, Safari, Windows, macOS.
_COPY = r"(?: ?\([0-9]+\)|-[0-9]| - Copy(?: \([0-9]+\))?| copy(?: [0-9]+)?)?"
_NAME = re.compile(rf"(.+?){_COPY}(?:\.csv{_COPY}(?:\.gz|\.zip)?{_COPY}|\.zip)", re.IGNORECASE)
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, csv.Error)
_OTHER_ZIP = (RuntimeError, NotImplementedError)  # a password, or an unknown compression


def find_named(files: list[Path], name: str) -> list[Path]:
    """Return the files that hold a CSV of this name, in any of its forms and copies.

    Args:
        files: Files to search.
        name: File name, such as "train-rle.csv".

    Returns:
        The one of exactly this name first, other forms and copies after it.
    """
    stem = name.removesuffix(".csv").lower()
    found = [path for path in files if (match := _NAME.fullmatch(path.name)) and match[1].lower() == stem]
    return sorted(found, key=lambda path: path.name != name)


def read_rows(path: Path, expected: str, encoding: str = "utf-8-sig") -> Iterator[list[str]]:
    """Yield the cells of each row of a CSV file, plain, gzipped or zipped; a blank line has none.

    Args:
        path: The file.
        expected: Expected content, for the message.
        encoding: Text encoding; with "utf-8", a byte-order mark is part of the first cell.

    Raises:
        UserError: The file cannot be read, or is not a CSV.
    """
    try:
        with unpacked(path) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
            yield from csv.reader(_limited(text, path), strict=True)
    except OSError as error:
        if error.errno is None:  # gzip's
            raise UserError(f"{path} is not a CSV ({error})", expected) from None
        raise UserError(f"cannot read {path} ({error.strerror})", expected) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a CSV (not UTF-8 text: {error.reason})", expected) from None
    except (*_DAMAGED, *_OTHER_ZIP) as error:
        raise UserError(f"{path} is not a CSV ({error})", expected) from None
    except MemoryError:  # a damaged header of LZMA asks for up to 4 GB
        raise UserError(f"{path} takes more memory than there is to unpack it", expected) from None


def quoted(cell: str) -> str:
    """Return the beginning of a cell for a message, escaped, which makes up to ten characters of one."""
    return repr(cell[:60])[:100]


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or the file packed in it by gzip or zip; its first bytes decide, not its name."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(b"\x1f\x8b"):
            with gzip.open(file) as stream:
                yield cast(IO[bytes], stream)
        elif start in (b"PK\x03\x04", b"PK\x05\x06"):
            with zipfile.ZipFile(file) as archive, archive.open(_only_csv(archive, path)) as stream:
                yield stream
        else:
            yield file


def _only_csv(archive: zipfile.ZipFile, path: Path) -> str:
    """Return the name of the one CSV file in an archive."""
    files = [name for name in archive.namelist() if not name.endswith("/")]
    visible = [name for name in files if not any(p.startswith((".", "__MACOSX")) for p in name.split("/"))]
    found = [name for name in visible if name.lower().endswith(".csv")] or visible
    if len(found) != 1:
        names = ", ".join(found[:5]) + ", ..." * (len(found) > 5)
        raise UserError(f"{len(found)} CSV files in {path}{f' ({names})' if found else ''}", "one")
    return found[0]


def _limited(text: IO[str], path: Path) -> Iterator[str]:
    """Yield the lines of a text up to the limits; a small archive may unpack to any length."""
    length = lines = 0
    most = min(MOST_OF_LINE, MOST_BYTES)
    while line := text.readline(most):
        length += len(line) * (1 if line.isascii() else 4)  # bytes of memory
        lines += 1
        if length >= MOST_BYTES:
            found = f"{MOST_BYTES:,} characters"
        elif lines > MOST_LINES:
            found = f"{MOST_LINES:,} lines"
        elif len(line) == most:
            found = f"{most:,} characters in a line"
        else:
            yield line
            continue
        raise UserError(f"{path} holds more than {found}", "a CSV of the competition")
