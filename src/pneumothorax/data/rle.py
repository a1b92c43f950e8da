"""The competition's run-length code: `encode` and `decode`, exact inverses of each other.

A mask is written as pairs ``gap length``. The first gap counts from pixel 0, each next gap from the end of
the run before it. Pixels are counted down the columns: the pixel in row y and column x of an image of
height H has the index ``x * H + y``. An empty mask is ``-1``.

Source: the competition's data page; `encode(decode(row))` reproduces all of its 3,576 annotated rows.
"""

import math
import re

import numpy as np
import numpy.typing as npt

from pneumothorax.errors import UserError

SHAPE = (1024, 1024)  # every image of the competition
EMPTY = "-1"
SPACES = " \t\n\r\f\v"  # allowed between numbers and around them; Unicode's other spaces are not

_DIGITS = re.compile(rf"[0-9][0-9{SPACES}]*").fullmatch
_WORDS = re.compile(rf"[^{SPACES}]+").findall
_NUMBER = re.compile(r"(-?)0*([0-9]+)").fullmatch  # int() would take "1_0" too
_MOST_DIGITS = 18  # more do not fit into 64 bits

Mask = npt.NDArray[np.uint8]


class RLEError(UserError, ValueError):
    """Text that is not a run-length code of a mask of the wanted shape."""


def encode(mask: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> str:
    """Write a mask as run-length text; the inverse of `decode`.

    Args:
        mask: bool or integer array of shape (H, W); every value but 0 is foreground.

    Returns:
        Text such as ``"5 2 1 4"``, or ``"-1"`` where the mask is empty.

    Raises:
        TypeError: The mask is not a two-dimensional array of bools or integers.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise TypeError(
            f"found {mask.dtype} of shape {mask.shape}; expected bool or integers of shape (H, W)"
        )
    edges = _edges(mask)
    if not edges.size:
        return EMPTY
    return " ".join(map(str, np.diff(edges, prepend=0).tolist()))


def decode(text: str, shape: tuple[int, int] = SHAPE) -> Mask:
    """Read run-length text as a mask; the inverse of `encode`.

    Args:
        text: ``gap length`` pairs, or ``-1`` for an empty mask; ASCII white space around it is ignored.
        shape: (H, W) of the mask, in pixels.

    Returns:
        uint8 array of shape (H, W), values {0, 1}, its columns contiguous in memory.

    Raises:
        RLEError: An odd count, a text that is not a number, a negative gap, a run without length, or a run
            past the last pixel. The message names the position of the number.
    """
    height, width = shape
    flat = np.zeros(height * width, dtype=np.uint8)
    text = text.strip(SPACES)
    if text != EMPTY:
        ends = _ends(text, flat.size).tolist()
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            flat[start:end] = 1
    return flat.reshape(width, height).T


def area(text: str, shape: tuple[int, int] = SHAPE) -> int:
    """Count the foreground pixels of run-length text without drawing the mask.

    Raises:
        RLEError: See `decode`.
    """
    text = text.strip(SPACES)
    return 0 if text == EMPTY else int(np.diff(_ends(text, math.prod(shape)))[::2].sum())


def _edges(mask: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return the starts and ends of runs, in turn, as pixels counted down the columns.

    Each pixel is compared with the one above it, in the array's own memory order: transposing the mask
    first would take longer than all the rest.
    """
    height = mask.shape[0]
    covered = np.flatnonzero(mask.any(axis=0))
    if not covered.size:
        return covered
    first, last = covered[0], covered[-1]
    block = mask[:, first : last + 1] != 0  # (H, C): only the columns that hold foreground
    by_column = mask.flags.f_contiguous
    changes = np.empty((height + 1, block.shape[1]), dtype=bool, order="F" if by_column else "C")
    changes[0], changes[-1] = block[0], block[-1]
    np.not_equal(block[1:], block[:-1], out=changes[1:-1])
    flat = np.flatnonzero(changes.ravel(order="K"))
    columns, rows = np.divmod(flat, height + 1) if by_column else np.divmod(flat, block.shape[1])[::-1]
    edges = np.sort((columns + first) * height + rows)
    # A run from one column's last pixel to the next one's first has an end and a start at one place.
    joined = np.flatnonzero(edges[1:] == edges[:-1])
    return np.delete(edges, np.concatenate([joined, joined + 1])) if joined.size else edges


def _ends(text: str, pixels: int) -> npt.NDArray[np.int64]:
    """Return the ends of gaps and runs, in turn; checked."""
    if not _DIGITS(text):
        raise _fault(text, pixels)
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    ends = numbers.cumsum()
    if len(numbers) % 2 or not numbers[1::2].all() or numbers.max() > pixels or ends[-1] > pixels:
        raise _fault(text, pixels)
    return ends


def _fault(text: str, pixels: int) -> RLEError:
    """Return the error in an invalid run-length text, with the position of the wrong number."""
    words = _WORDS(text)
    if not words:
        return RLEError("empty run-length text", "'gap length' pairs or -1")
    numbers = []
    for at, word in enumerate(words, 1):
        match = _NUMBER(word)
        if not match:
            return RLEError(f"{word[:20]!r} as number {at} of run-length text", "whole numbers")
        if len(match[2]) > _MOST_DIGITS:
            return RLEError(f"{word[:20]}... as number {at} of run-length text", f"at most {pixels} pixels")
        numbers.append(int(match[1] + match[2]))
    if len(words) % 2:
        return RLEError(f"{len(words)} numbers in run-length text", "pairs of gap and length")
    end = 0
    for at, number in enumerate(numbers, 1):
        end += number
        if at % 2 and number < 0:
            wanted = "0 or more (runs may not overlap)"
            return RLEError(f"gap {number} as number {at} of run-length text", wanted)
        if not at % 2 and number < 1:
            return RLEError(f"length {number} as number {at} of run-length text", "1 or more")
        if not at % 2 and end > pixels:
            break
    return RLEError(f"a run to pixel {end} (number {at} of run-length text)", f"at most {pixels} pixels")
