"""Decode PNG and JPEG bytes; truncated or damaged data are refused, not silently repaired.

Only simplejpeg detects JPEG data that are damaged but not truncated, so only where it is installed.
Knows nothing of DICOM.
"""

from typing import Any

import cv2
import numpy as np

from pneumothorax.data.windowing import Array

try:
    import simplejpeg  # type: ignore[import, unused-ignore]
except ImportError:  # Kaggle's image need not have it: the competition's files are whole
    simplejpeg = None

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"  # magic bytes

_PNG_END = b"IEND\xaeB`\x82"
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
# Markers of frame headers: of JPEG's processes, and of JPEG-LS; and those that no length follows.
_JPEG_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
_JPEG_BARE = (0x01, *range(0xD0, 0xD9))
_DAMAGED = ("Corrupt JPEG data", "Premature end")  # beginnings of libjpeg's warnings
_MOST_PIXELS = 2**30  # OpenCV's own limit
_TOO_LARGE = "its header announces more pixels than can be decoded"


def decode(data: bytes, flags: int) -> Array:
    """Decode PNG or JPEG bytes with OpenCV.

    Raises:
        ValueError: They are broken, cut short, or too large.
    """
    check_whole(data)
    try:
        pixels: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # it asserts the size, and that there is memory for it
        raise ValueError(_TOO_LARGE) from None
    if pixels is None:
        raise ValueError("a broken PNG or JPEG image")
    return pixels


def decode_grey_jpeg(data: bytes) -> Array:
    """Decode a JPEG image to grey levels, (H, W), as OpenCV does; refuse damage that simplejpeg detects.

    Raises:
        ValueError: The image is damaged, cut short, or too large.
    """
    pixels = _strict_grey(data)
    return decode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION) if pixels is None else pixels


def _strict_grey(data: bytes, **options: Any) -> Array | None:
    """Decode a JPEG image to grey levels, (H, W), refusing damage that OpenCV would fill in or ignore.

    The pixels are OpenCV's own, bit for bit. Damage shows where the blocks' codes end before or after their
    bytes; a changed code of the same length goes unnoticed.

    Args:
        data: The whole image.
        **options: Options of `simplejpeg.decode_jpeg`.

    Returns:
        None if simplejpeg is not installed, does not know this kind of JPEG, or would make it too large.
    """
    if simplejpeg is None:
        return None
    check_whole(data)
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if height * width > _MOST_PIXELS:
            return None
        pixels: Array = simplejpeg.decode_jpeg(data, "GRAY", **options)[..., 0]
        return pixels
    except ValueError as error:
        if str(error).startswith(_DAMAGED):
            raise ValueError(f"a damaged image ({error})") from None
        return None


def check_jpeg(data: bytes) -> None:
    """Refuse a damaged JPEG image of any colours, by decoding it at an eighth of its size.

    Raises:
        ValueError: It is damaged.
    """
    _strict_grey(data, fastdct=True, min_factor=8)


def check_shape(data: bytes, shape: tuple[int, int]) -> None:
    """Refuse a JPEG or JPEG-LS image whose frame header announces another shape than (H, W).

    libjpeg takes for ever, and gigabytes of memory, for a frame without lines.

    Raises:
        ValueError: It does.
    """
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            found = (int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9]))
            if found != shape:
                raise ValueError(f"a JPEG image of shape {found}; expected {shape}, from Rows and Columns")
            return
        if marker == 0xFF:  # fills up
            at += 1
        else:
            at += 2 if marker in _JPEG_BARE else 2 + int.from_bytes(data[at + 2 : at + 4])


def check_whole(data: bytes) -> None:
    """Refuse a PNG or any kind of JPEG without its end marker; decoders fill the missing part with grey.

    Raises:
        ValueError: The end marker is missing.
    """
    if data.startswith(PNG):
        whole = _PNG_END in data
    else:  # compressed data holds neither marker, a thumbnail in the header may hold both: the last count
        whole = _JPEG_END in data[-4:] or data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN)
    if not whole:
        raise ValueError("the image is cut short (its end marker is missing)")
