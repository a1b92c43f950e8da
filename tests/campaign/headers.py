"""DICOM files of many kinds, mutated: attributes changed, removed, added, retyped; bytes cut and changed."""

import random
import struct
from functools import cache

import numpy as np
from pydicom import uid
from tests.data.code_streams import CODE_STREAMS, SLOPE
from tests.data.dicom_files import BIG, DEFLATED, GREY, IMPLICIT, JPEG, RAMP, dataset, jpeg, lut, written

LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
TYPES = (*LONG, b"CS", b"DS", b"IS", b"US", b"SS", b"UL", b"SL", b"FL", b"FD", b"LO", b"UI", b"AS", b"DA")
TYPES += (b"PN", b"AT", b"SH", b"LT", b"XX", b"\0\0")
TEXTS = (
    *(
        b"",
        b" ",
        b"0",
        b"-1",
        b"1",
        b"1\\1",
        b"0.143\\0.143",
        b"nan",
        b"inf",
        b"1e308\\1e308",
        b"-1e400",
        b"\\",
    ),
    *(
        b"MONOCHROME1",
        b"MONOCHROME2",
        b"RGB",
        b"YBR_FULL",
        b"PALETTE COLOR",
        b"YBR_FULL_422",
        b"M",
        b"\xff\xfe",
    ),
    *(
        b"SIGMOID",
        b"LINEAR_EXACT",
        b"INVERSE",
        b"IDENTITY",
        b"L\\F",
        b"R\\F",
        b"\0\0",
        b"099Y",
        b"012M",
        b"999Y",
    ),
    *(
        b"1.2.840.10008.1.2.4.50",
        b"1.2.840.10008.1.2.1",
        b"1.2.3",
        b"A" * 70,
        b"1" * 5000,
        b"1\n2",
        b"\x1b$B",
    ),
)
SHORTS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 40, 64, 255, 256, 1000, 32767, 32768, 65535)
# Attributes that the readers look at, by their numbers.
READ = (
    *(0x00020010, 0x00080005, 0x00080008, 0x00080016, 0x00080060, 0x00080068, 0x00100020, 0x00100040),
    *(0x00101010, 0x00180015, 0x00181164, 0x00182010, 0x00181114, 0x00185101, 0x00200020, 0x00200062),
    *(0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280034),
    *(0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280106, 0x00280107, 0x00280120, 0x00280121),
    *(0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281054, 0x00281055, 0x00281056, 0x00281101),
    *(0x00281201, 0x00281202, 0x00281203, 0x00283000, 0x00283002, 0x00283006, 0x00283010, 0x00181600),
    *(0x00181602, 0x00181604, 0x00181606, 0x00181608, 0x00181610, 0x00181612, 0x00181620, 0x60000010),
    *(0x60000011, 0x60000050, 0x60000100, 0x60000102, 0x60003000, 0x20500010, 0x20500020, 0x7FE00008),
    *(0x7FE00009, 0x7FE00010, 0x00100010, 0x0020000D, 0x0020000E, 0x00080018, 0x00100030, 0x00080020),
)
Element = tuple[int, bytes, bytes]  # tag, type, value


@cache
def whole_files() -> tuple[bytes, ...]:
    """Return good files of many kinds."""
    deep = (RAMP.astype(np.uint16) * 16).astype(np.uint16)
    shutter = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 2, "ShutterRightVerticalEdge": 30}
    shutter |= {"ShutterUpperHorizontalEdge": 2, "ShutterLowerHorizontalEdge": 20}
    facts = {"PixelSpacing": [0.143, 0.143], "PatientSex": "F", "PatientAge": "050Y", "ViewPosition": "PA"}
    facts |= {"PatientID": "p1", "BodyPartExamined": "CHEST", "PatientOrientation": ["L", "F"]}
    window = {"WindowCenter": 1000, "WindowWidth": 800, "RescaleSlope": 2, "RescaleIntercept": -100}
    made = [
        dataset(GREY, JPEG, jpeg(GREY), **facts),
        dataset(GREY, **facts),
        dataset(GREY, IMPLICIT, **facts),
        dataset(deep, BitsStored=12, **window, **facts),
        dataset(deep, BIG, BitsStored=12, **window),
        dataset(deep, DEFLATED, BitsStored=12),
        dataset(deep.astype(np.int16), PixelPaddingValue=0, PixelPaddingRangeLimit=3, **shutter),
        dataset(deep, BitsStored=12, ModalityLUTSequence=[lut(list(range(0, 4096, 16)), 12)]),
        dataset(deep, BitsStored=12, VOILUTSequence=[lut(list(range(0, 4096, 16)), 12)], **facts),
        dataset(np.dstack([GREY] * 3)),
    ]
    made += [
        dataset(SLOPE, syntax, stream, BitsStored=12)
        for syntax, (_, stream) in CODE_STREAMS.items()
        if syntax != uid.JPEGExtended12Bit
    ]
    return tuple(map(written, made))


def make_file(dice: random.Random) -> bytes:
    """Return the bytes of a mutated file."""
    content = dice.choice(whole_files()[:1] * 6 + whole_files())
    elements = parse(content)
    if elements is not None and dice.random() < 0.85:
        for _ in range(dice.choice((1, 1, 2, 3, 5))):
            dice.choice(_ON_ELEMENTS)(dice, elements)
        content = content[:132] + b"".join(map(_packed, elements))
    if elements is None or dice.random() < 0.3:
        content = _mutate_bytes(dice, content)
    return content


def parse(content: bytes) -> list[Element] | None:
    """Return the elements of a file with explicit types, little-endian; None of another one."""
    elements: list[Element] = []
    place = 132
    while place < len(content):
        group, number = struct.unpack_from("<HH", content, place)
        kind = content[place + 4 : place + 6]
        if kind not in TYPES[:-2]:
            return None
        if kind in LONG:
            (length,) = struct.unpack_from("<I", content, place + 8)
            place += 12
        else:
            (length,) = struct.unpack_from("<H", content, place + 6)
            place += 8
        end = len(content) if length == 0xFFFFFFFF else place + length
        elements.append((group << 16 | number, kind, content[place:end]))
        place = end
    return elements


def _packed(element: Element) -> bytes:
    """Return the bytes of one element; pixels in items have no length."""
    tag, kind, value = element
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind
    if kind in LONG:
        length = 0xFFFFFFFF if value.startswith(b"\xfe\xff\x00\xe0") and tag == 0x7FE00010 else len(value)
        return start + b"\0\0" + struct.pack("<I", length) + value
    return start + struct.pack("<H", min(len(value), 65535)) + value[:65535]


def _value(dice: random.Random) -> bytes:
    """Return the bytes of a value, which may be of any type."""
    pick = dice.random()
    if pick < 0.4:
        return struct.pack("<H", dice.choice(SHORTS)) * dice.choice((1, 1, 1, 0, 2, 3))
    if pick < 0.8:
        text = dice.choice(TEXTS)
        return text + b" " * (len(text) % 2)
    if pick < 0.9:
        return struct.pack("<d", dice.choice((0.0, -1.0, 1e300, float("nan"), float("inf"), 0.5)))
    return dice.randbytes(2 * dice.choice((0, 1, 2, 4, 50)))


def _change(dice: random.Random, elements: list[Element]) -> None:
    at = dice.randrange(len(elements))
    elements[at] = (*elements[at][:2], _value(dice))


def _change_read(dice: random.Random, elements: list[Element]) -> None:
    tag = dice.choice(READ)
    kind = next((kind for other, kind, _ in elements if other == tag), None)
    elements[:] = [one for one in elements if one[0] != tag]
    elements.append((tag, kind or dice.choice(TYPES), _value(dice)))
    elements.sort(key=lambda one: one[0])


def _retype(dice: random.Random, elements: list[Element]) -> None:
    at = dice.randrange(len(elements))
    elements[at] = (elements[at][0], dice.choice(TYPES), elements[at][2])


def _remove(dice: random.Random, elements: list[Element]) -> None:
    if len(elements) > 1:
        del elements[dice.randrange(len(elements))]


def _double(dice: random.Random, elements: list[Element]) -> None:
    elements.insert(dice.randrange(len(elements)), dice.choice(elements))


def _shorten(dice: random.Random, elements: list[Element]) -> None:
    at = dice.randrange(len(elements))
    tag, kind, value = elements[at]
    elements[at] = (tag, kind, value[: dice.randrange(len(value) + 1)])


def _spoil(dice: random.Random, elements: list[Element]) -> None:
    at = dice.randrange(len(elements))
    elements[at] = (*elements[at][:2], _mutate_bytes(dice, elements[at][2]))


def _nest(dice: random.Random, elements: list[Element]) -> None:
    """Put an element into a sequence of its own, some levels deep."""
    at = dice.randrange(len(elements))
    tag, _, _ = elements[at]
    inner = _packed(elements[at])
    for _ in range(dice.choice((1, 2, 100, 2000))):
        inner = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        inner = (
            struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ\0\0" + struct.pack("<I", len(inner)) + inner
        )
    elements[at] = (tag, b"SQ", inner[12:])


_ON_ELEMENTS = (_change_read,) * 6 + (_change, _change, _retype, _remove, _double, _shorten, _spoil, _nest)


def _mutate_bytes(dice: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 2, 8, 64))):
        if changed:
            most = len(changed) if dice.random() < 0.5 else min(len(changed), 700)
            changed[dice.randrange(most)] = dice.choice((0, 1, 255, dice.randrange(256)))
    return bytes(changed[: dice.randrange(len(changed) + 1)] if dice.random() < 0.15 else changed)
