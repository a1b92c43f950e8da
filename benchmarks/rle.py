"""Run-length code of 1024x1024 masks against pycocotools (C) and against a loop over the pixels.

    pip install pycocotools
    python benchmarks/rle.py

The masks are the artificial competition's. pycocotools gets and returns its own layout: Fortran order.
"""

import numpy as np
from pycocotools import mask as coco

from pneumothorax.data import rle
from pneumothorax.phantom.anatomy import draw_radiograph
from timing import describe_machine, interleave, print_ratio

MASKS, ROUNDS, LOOPED = 40, 15, 2


def draw_masks() -> list[np.ndarray]:
    masks = []
    for number in range(MASKS):
        _, pieces = draw_radiograph(np.random.default_rng(number), pneumothorax=True)
        masks.append(np.bitwise_or.reduce(pieces))
    return masks


def encode_by_loop(mask: np.ndarray) -> str:
    """Visit every pixel down the columns, as the competition's helper does; right at the last one."""
    words, run, gap = [], 0, 0
    for value in mask.T.flatten():
        if value:
            run += 1
            continue
        if run:
            words += [str(gap), str(run)]
            run = gap = 0
        gap += 1
    return " ".join([*words, str(gap), str(run)] if run else words)


def decode_by_loop(text: str) -> np.ndarray:
    """Set every pixel by itself."""
    flat = np.zeros(1024 * 1024, dtype=np.uint8)
    numbers = list(map(int, text.split()))
    position = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        position += gap
        for pixel in range(position, position + length):
            flat[pixel] = 1
        position += length
    return flat.reshape(1024, 1024).T


def main() -> None:
    masks = draw_masks()
    fortran = [np.asfortranarray(mask) for mask in masks]
    texts, packed = [rle.encode(mask) for mask in masks], [coco.encode(mask) for mask in fortran]
    assert all(encode_by_loop(mask) == text for mask, text in zip(masks[:LOOPED], texts, strict=False))
    assert all(np.array_equal(rle.decode(a), coco.decode(b)) for a, b in zip(texts, packed, strict=True))
    print(describe_machine("numpy", "pycocotools"))
    encoding = interleave(
        {
            "ours": lambda: [rle.encode(mask) for mask in masks],
            "ours, Fortran order": lambda: [rle.encode(mask) for mask in fortran],
            "pycocotools": lambda: [coco.encode(mask) for mask in fortran],
        },
        ROUNDS,
    )
    decoding = interleave(
        {
            "ours": lambda: [rle.decode(text) for text in texts],
            "pycocotools": lambda: [coco.decode(code) for code in packed],
        },
        ROUNDS,
    )
    loops = interleave(
        {
            "encode": lambda: [encode_by_loop(mask) for mask in masks[:LOOPED]],
            "decode": lambda: [decode_by_loop(text) for text in texts[:LOOPED]],
        },
        2,
    )
    for name, seconds in encoding.items():
        print(f"encode, {name:<20} {seconds / MASKS * 1e3:8.3f} ms a mask")
    for name, seconds in decoding.items():
        print(f"decode, {name:<20} {seconds / MASKS * 1e3:8.3f} ms a mask")
    print_ratio("encode: pycocotools / ours", encoding["pycocotools"] / encoding["ours"], "1.5")
    print_ratio("decode: pycocotools / ours", decoding["pycocotools"] / decoding["ours"], "4")
    print_ratio("encode: pixel loop / ours", loops["encode"] / LOOPED / encoding["ours"] * MASKS, "hundreds")
    print_ratio("decode: pixel loop / ours", loops["decode"] / LOOPED / decoding["ours"] * MASKS, "-")


if __name__ == "__main__":
    main()
