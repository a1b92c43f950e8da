"""Decode the stored pixels of a parsed DICOM data set's one frame, of any transfer syntax.

Errors name the attribute. Does not know how pixels are displayed.
"""

import textwrap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.encaps import get_frame, parse_basic_offsets, parse_fragments
from pydicom.pixels import apply_color_lut, get_decoder

from pneumothorax.data.attributes import explain, number, whole, words
from pneumothorax.data.codecs import check_jpeg, check_shape, check_whole, decode_grey_jpeg

GREY = ("MONOCHROME1", "MONOCHROME2")
_SAMPLES = {
    **dict.fromkeys((*GREY, "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422"), 3),
}
_OF_JPEG_2000 = ("YBR_ICT", "YBR_RCT")
_BITS = (1, 8, 16, 32)
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}  # and their bits
_JPEG_2000 = {*uid.JPEG2000TransferSyntaxes, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
_JPEGS = {*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes, *_JPEG_2000}
_PLUGINS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"

Array = npt.NDArray[Any]


class Stored(NamedTuple):
    """The pixels of an image.

    Attributes:
        values: Stored values of shape (H, W), or (H, W, 3) in RGB.
        raw: Stored values as in the file, unused bits included, of shape (H, W); None if equal.
    """

    values: Array
    raw: Array | None = None


def read_stored(dataset: pydicom.Dataset) -> Stored:
    """Decode the pixels of a single frame; colour palettes and YBR become RGB.

    Raises:
        ValueError: There is no such frame, or a decoder is missing; the message names the attribute.
    """
    kind = _check(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    if kind == "PixelData" and syntax.is_encapsulated:
        frame = join_frame(dataset.PixelData)
        if syntax == uid.JPEGBaseline8Bit and dataset.SamplesPerPixel == 1:
            return Stored(decode_baseline(frame, (dataset.Rows, dataset.Columns)))
        if syntax in _JPEGS:
            check_whole(frame)
        if syntax in _JPEGS - _JPEG_2000:
            check_shape(frame, (dataset.Rows, dataset.Columns))
        if syntax == uid.JPEGBaseline8Bit:
            check_jpeg(frame)
    try:
        grey = dataset.SamplesPerPixel == 1
        options = {"correct_unused_bits": False} if grey and syntax not in _JPEGS else {}
        pixels, _ = get_decoder(syntax).as_array(dataset, index=0, **options)
    except Exception as error:  # pydicom and its plugins raise nearly anything on broken bytes
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        if syntax in _JPEGS and "pylibjpeg" in str(get_decoder(syntax).missing_dependencies):
            reason += f"; its decoder ({syntax.name}) may be missing: {_PLUGINS}"
        raise ValueError(f"{kind} cannot be decoded: {reason}") from error
    if not grey or kind != "PixelData":
        return Stored(pixels)
    stored = _used_bits(pixels, dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return Stored(_coloured(stored, dataset))
    return Stored(stored, None if stored is pixels else pixels)


def join_frame(items: bytes) -> bytes:
    """Join the fragments of one encapsulated frame, refusing an incomplete item."""
    try:
        offsets, (_, starts) = parse_basic_offsets(items), parse_fragments(items)
        for start in starts[-1:]:  # only the last can reach too far
            length, left = int.from_bytes(items[start + 4 : start + 8], "little"), len(items) - start - 8
            if length > left:
                raise ValueError(f"an item is cut short ({left:,} of {length:,} bytes of its pixels)")
        frame = get_frame(items, 0, number_of_frames=1)
    except Exception as error:
        raise ValueError(f"PixelData holds no whole frame: {explain(error)}") from error
    if len(offsets) > 1:
        raise ValueError(f"PixelData holds {len(offsets):,} frames; expected one")
    return frame


def decode_baseline(frame: bytes, shape: tuple[int, ...]) -> Array:
    """Decode a grey JPEG Baseline frame as OpenCV does: pydicom's plugins differ among themselves."""
    pixels = decode_grey_jpeg(frame)
    if pixels.shape != shape:
        raise ValueError(f"a JPEG image of shape {pixels.shape}; expected {shape}, from Rows and Columns")
    return pixels


def _check(dataset: pydicom.Dataset) -> str:
    """Check the attributes that describe the pixels, and convert their types; return the pixels' keyword."""
    kind = next((name for name in ("PixelData", *_FLOATS) if name in dataset), "PixelData")
    least_most = {
        "Rows": (1, 65535),
        "Columns": (1, 65535),
        "BitsAllocated": (1, 64),
        "SamplesPerPixel": (1, 4),
    }
    if kind == "PixelData":
        least_most |= {"BitsStored": (1, 64), "PixelRepresentation": (0, 1)}
    for keyword, (least, most) in least_most.items():
        dataset.add_new(keyword, "US", whole(dataset, keyword, least, most))
    frames = whole(dataset, "NumberOfFrames", 1, 10**9, 1)
    if frames > 1:
        raise ValueError(f"NumberOfFrames: {frames:,} frames; expected one")
    dataset.NumberOfFrames = 1
    photometric = (words(dataset, "PhotometricInterpretation") or [""])[0]
    if not photometric:
        raise ValueError("PhotometricInterpretation is missing")
    dataset.add_new("PhotometricInterpretation", "CS", photometric)
    syntax = dataset.file_meta.TransferSyntaxUID
    samples = 3 if photometric in _OF_JPEG_2000 and syntax in _JPEG_2000 else _SAMPLES.get(photometric)
    if samples is None:
        raise ValueError(f"PhotometricInterpretation {photometric} is not read")
    if dataset.SamplesPerPixel != samples:
        raise ValueError(f"SamplesPerPixel is {dataset.SamplesPerPixel}; expected {samples} of {photometric}")
    if samples > 1:
        dataset.add_new("PlanarConfiguration", "US", whole(dataset, "PlanarConfiguration", 0, 1, 0))
    try:
        get_decoder(syntax)
    except NotImplementedError:
        raise ValueError(f"TransferSyntaxUID {syntax.name} is not read") from None
    bits = dataset.BitsAllocated
    if bits not in _BITS if kind == "PixelData" else bits != _FLOATS[kind]:
        raise ValueError(f"BitsAllocated {bits} is not read in {kind}")
    if kind == "PixelData" and dataset.BitsStored > bits:
        raise ValueError(f"BitsStored is {dataset.BitsStored}, more than BitsAllocated, {bits}")
    _check_length(dataset, kind, syntax)
    return kind


def _check_length(dataset: pydicom.Dataset, kind: str, syntax: uid.UID) -> None:
    """Refuse pixels that are missing, too few, or enough for several frames."""
    length = len(dataset[kind].value or b"")
    if not length:
        raise ValueError(f"{kind} is empty")
    if syntax.is_encapsulated:
        return
    pixels = dataset.Rows * dataset.Columns
    bits = pixels * dataset.SamplesPerPixel * dataset.BitsAllocated
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits * 2 // 3
    need = -(-bits // 8)
    if length < need:
        raise ValueError(f"{kind} has {length:,} bytes, less than expected from Rows and Columns, {need:,}")
    if length >= 2 * need + need % 2 and need > 1:
        raise ValueError(
            f"{kind} has {length:,} bytes, enough for {length // need:,} frames; expected one of {need:,}"
        )


def _used_bits(raw: Array, dataset: pydicom.Dataset) -> Array:
    """Return the stored bits of each word, with their sign; other bits, such as overlays, are dropped.

    They end at High Bit; an impossible one is replaced by the usual Bits Stored less one.
    """
    stored, allocated = int(dataset.BitsStored), 8 * raw.dtype.itemsize
    if raw.dtype.kind not in "iu" or stored >= allocated or dataset.BitsAllocated == 1:
        return raw
    try:
        high = number(dataset, "HighBit")
    except ValueError:
        high = None
    lowest = 0 if high is None or not stored - 1 <= high < allocated else int(high) - stored + 1
    unsigned = (raw.view(raw.dtype.str.replace("i", "u")) >> lowest) & (2**stored - 1)
    if raw.dtype.kind == "u":
        return unsigned
    sign = 1 << (stored - 1)
    return ((unsigned.astype(np.int64) ^ sign) - sign).astype(raw.dtype)


def _coloured(stored: Array, dataset: pydicom.Dataset) -> Array:
    """Look up the colours of stored values, (H, W, 3)."""
    try:
        return apply_color_lut(stored, dataset)[..., :3]
    except Exception as error:  # pydicom's, on broken tables
        raise ValueError(f"the PaletteColorLookupTable is broken: {error}") from error
