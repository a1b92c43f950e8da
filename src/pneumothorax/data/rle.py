"""The competition's run-length code: `encode` and `decode`, exact inverses of each other.

A mask is written as pairs ``gap length``. The first gap counts from pixel 0, each next gap from the end of
the run before it. Pixels are counted down the columns: the pixel in row y and column x of an image of
height H has the index ``x * H + y``. An empty mask is ``-1``.

Source: the competition's data page, and its 3,576 annotated rows, which `encode(decode(row))` reproduces.
"""

import math
import re
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from pneumothorax.errors import UserError

SHAPE = (1024, 1024)  # every image of the competition
EMPTY = "-1"

_NUMBER = re.compile(r"-?[0-9]{1,18}").fullmatch  # int() would take "1_0" too

Mask = npt.NDArray[np.uint8]


class RLEError(UserError, ValueError):
    """Text that is no run-length code of a mask of the wanted shape."""


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
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return EMPTY
    first, last = columns[0], columns[-1]
    block = mask[:, first : last + 1] != 0  # (H, C): only the columns that hold foreground
    padded = np.zeros(block.size + 2, dtype=bool)
    padded[1:-1] = block.T.ravel()
    edges = np.flatnonzero(padded[1:] != padded[:-1])  # starts and ends of the runs, in turn
    steps = np.diff(edges, prepend=0)
    steps[0] += first * mask.shape[0]
    return " ".join(map(str, steps.tolist()))


def decode(text: str, shape: tuple[int, int] = SHAPE) -> Mask:
    """Read run-length text as a mask; the inverse of `encode`.

    Args:
        text: ``gap length`` pairs, or ``-1`` for an empty mask; white space around it is ignored.
        shape: (H, W) of the mask, in pixels.

    Returns:
        uint8 array of shape (H, W), values {0, 1}, its columns contiguous in memory.

    Raises:
        RLEError: An odd count, something that is no number, a negative gap, a run without length, or a run
            past the last pixel. The message says which number it is.
    """
    height, width = shape
    flat = np.zeros(height * width, dtype=np.uint8)
    text = text.strip()
    if text != EMPTY:
        for start, end in _runs(text, flat.size):
            flat[start:end] = 1
    return flat.reshape(width, height).T


def area(text: str, shape: tuple[int, int] = SHAPE) -> int:
    """Count the foreground pixels of run-length text without drawing the mask.

    Raises:
        RLEError: As `decode` does.
    """
    text = text.strip()
    return 0 if text == EMPTY else sum(end - start for start, end in _runs(text, math.prod(shape)))


def _runs(text: str, pixels: int) -> list[tuple[int, int]]:
    """Return (start, end) of every run, checked."""
    words = text.split()
    if not words:
        raise RLEError("empty run-length text", "'gap length' pairs or -1")
    if not all(map(_NUMBER, words)):
        at, word = next((at, word) for at, word in enumerate(words, 1) if not _NUMBER(word))
        raise RLEError(f"{word[:20]!r} as number {at} of run-length text", "whole numbers")
    if len(words) % 2:
        raise RLEError(f"{len(words)} numbers in run-length text", "pairs of gap and length")
    numbers = list(map(int, words))
    ends = list(accumulate(numbers))
    if min(numbers[::2]) < 0 or min(numbers[1::2]) < 1 or ends[-1] > pixels:
        raise _first_fault(numbers, ends, pixels)
    return list(zip(ends[::2], ends[1::2], strict=True))


def _first_fault(numbers: list[int], ends: list[int], pixels: int) -> RLEError:
    """Say what is wrong with the first number that is."""
    for at, (number, end) in enumerate(zip(numbers, ends, strict=True), 1):
        if at % 2 and number < 0:
            return RLEError(
                f"gap {number} as number {at} of run-length text", "0 or more (runs may not overlap)"
            )
        if not at % 2 and number < 1:
            return RLEError(f"length {number} as number {at} of run-length text", "1 or more")
        if not at % 2 and end > pixels:
            return RLEError(
                f"a run to pixel {end} (number {at} of run-length text)", f"at most {pixels} pixels"
            )
    raise AssertionError("no fault in run-length text")
