"""Check what pydicom, before it has parsed a file, may take minutes or gigabytes for.

Knows a DICOM file's meta information, but no attribute of its image.
"""

import zlib
from contextlib import suppress
from typing import BinaryIO

from pydicom import uid
from pydicom.filereader import data_element_generator, read_preamble

MOST_BYTES = 2**28  # of a deflated data set; a radiograph of 4,000 x 4,000 pixels has 32 MB
_PIECE = 2**20
_SYNTAX = 0x00020010
_DEFLATED = uid.DeflatedExplicitVRLittleEndian.encode()


def check_meta(file: BinaryIO) -> None:
    """Check a file's meta information and the length of a deflated data set; leave the file at its start.

    Raises:
        ValueError: It holds a sequence, which pydicom writes out where it stands in the place of a length, or
            a small data set unpacks to a large one.
    """
    kinds, syntax = set(), b""
    with suppress(Exception):  # the parser will say
        read_preamble(file, force=True)
        for element in data_element_generator(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2):
            kinds.add(element.VR)
            if element.tag == _SYNTAX and isinstance(element.value, bytes):
                syntax = element.value.rstrip(b"\0")
    deflated = file.read() if syntax == _DEFLATED else b""
    file.seek(0)
    if "SQ" in kinds:
        raise ValueError("a sequence in the file meta information")
    if _is_longer(deflated, MOST_BYTES):
        raise ValueError(f"its deflated data set has more than {MOST_BYTES:,} bytes")


def _is_longer(deflated: bytes, most: int) -> bool:
    """Return whether data unpack to more than so many bytes; damaged data do as far as they are whole."""
    unpacking, length = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with suppress(zlib.error):
        while deflated and length <= most and (piece := unpacking.decompress(deflated, _PIECE)):
            length += len(piece)
            deflated = unpacking.unconsumed_tail
    return length > most
