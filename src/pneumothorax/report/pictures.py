"""Pack the content of each case for the page: picture, true mask and probabilities, within a byte limit.

Probabilities are packed without loss, so that the page decides as Python does; pictures are as large as fits.
"""

import base64
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.data.dicom import UnreadableImageError, read_radiograph
from pneumothorax.inference.pixel_counts import true_mask

LIMIT_BYTES = 28_000_000  # of all cases together, as base64; the rest of the page is small
MOST_CASES = 400
MAPS_SHARE = 0.6  # of the limit, at most, for probabilities; the rest is left for pictures
# Longer side in pixels and JPEG quality, best first.
QUALITIES = (
    (1024, 85),
    (768, 85),
    (640, 82),
    (512, 80),
    (448, 76),
    (384, 72),
    (320, 66),
    (256, 60),
    (192, 50),
)
PROBES = 12  # pictures tried to estimate the size

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """The sources of a case's content.

    Attributes:
        path: Path of the radiograph, which may have been moved.
        fallback: The prepared image, uint8 of shape (S, S); None if unavailable.
        code: Run-length code of the true mask.
        shape: (H, W) of that code.
        maps: Probability of each run, uint8 of shape (S, S).
    """

    path: Path
    fallback: Image | None
    code: str
    shape: tuple[int, int]
    maps: Sequence[Image]


@dataclass(frozen=True)
class Packed:
    """All cases, packed.

    Attributes:
        cases: Data of each case for `web/cases.js`: image, truth and maps as text.
        side: Longer side of the pictures, in pixels.
        substituted: Number of pictures made of prepared images.
        missing: Number of cases without a picture.
    """

    cases: Sequence[Mapping[str, Any]]
    side: int
    substituted: int
    missing: int


def pack_map(probability: Image) -> str:
    """Pack a probability without loss: differences along each row, zlib, base64; see `web/decide.js`."""
    differences = np.diff(probability, axis=1, prepend=np.uint8(0))  # modulo 256
    return base64.b64encode(zlib.compress(np.ascontiguousarray(differences).tobytes(), 9)).decode()


def limit_cases(maps: Sequence[Sequence[Image]], wanted: int) -> int:
    """Return the number of cases whose probabilities fit, at most `wanted`.

    Args:
        maps: Probabilities of some cases, for each run.
        wanted: Number of cases.
    """
    if not maps:
        return wanted
    mean = sum(len(pack_map(one)) for case in maps for one in case) / len(maps)
    return max(1, min(wanted, int(MAPS_SHARE * LIMIT_BYTES / max(mean, 1))))


def pack(sources: Sequence[Source], limit: int = LIMIT_BYTES, largest: int = QUALITIES[0][0]) -> Packed:
    """Pack cases within a byte limit for all of them, their pictures of `largest` pixels at most."""
    qualities = [quality for quality in QUALITIES if quality[0] <= largest]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        maps = [[pack_map(one) for one in source.maps] for source in sources]
        truths = [_truth(source) for source in sources]
        taken = sum(map(len, truths)) + sum(len(one) for case in maps for one in case)
        read = partial(_draw, quality=_choose_quality(sources, limit - taken, qualities))
        drawn = list(tqdm(pool.map(read, sources), "pictures", len(sources), unit="image", disable=None))
        at = QUALITIES.index(read.keywords["quality"])
        while sum(len(image) for image, _ in drawn) + taken > limit and at + 1 < len(QUALITIES):
            at += 1  # the probes were smaller than most
            drawn = list(pool.map(partial(_draw, quality=QUALITIES[at]), sources))
    return Packed(
        cases=[
            {"image": image, "truth": truth, "maps": of_case}
            for (image, _), truth, of_case in zip(drawn, truths, maps, strict=True)
        ],
        side=QUALITIES[at][0],
        substituted=sum(kind == "prepared" for _, kind in drawn),
        missing=sum(kind == "missing" for _, kind in drawn),
    )


def find_prepared(folders: Iterator[Path], names: Sequence[str]) -> dict[str, Image]:
    """Find prepared images, each in the first cache that has it.

    Args:
        folders: Folders of caches, the likeliest first.
        names: ImageIds of the images.
    """
    from pneumothorax.data.cache import open_cache

    found: dict[str, Image] = {}
    for folder in folders:
        if len(found) == len(names):
            break
        if not (folder / "cache.json").is_file():
            continue
        cache = open_cache(folder)
        rows = {name: row for row, name in enumerate(cache.studies["ImageId"])}
        found |= {name: cache.images[rows[name]] for name in names if name in rows and name not in found}
    return found


def _truth(source: Source) -> str:
    """Return the run-length code of the true mask at 1024x1024."""
    if source.code == rle.EMPTY or source.shape == rle.SHAPE:
        return source.code
    mask = true_mask(source.code, source.shape)
    return rle.EMPTY if mask is None else rle.encode(mask)


def _choose_quality(
    sources: Sequence[Source], room: int, qualities: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """Return the best quality at which all pictures fit, estimated from a few."""
    step = max(1, len(sources) // PROBES)
    probes = sources[::step][:PROBES]
    for quality in qualities[:-1]:
        mean = sum(len(_draw(source, quality)[0]) for source in probes) / max(len(probes), 1)
        if mean * len(sources) < 0.95 * room:
            return quality
    return qualities[-1]


def _draw(source: Source, quality: tuple[int, int]) -> tuple[str, str]:
    """Return a picture as base64 of a JPEG file, and whether it is 'original', 'prepared' or 'missing'."""
    side, percent = quality
    image, kind = _read(source)
    scale = side / max(image.shape)
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in image.shape)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, percent, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    return base64.b64encode(data.tobytes()).decode(), kind


def _read(source: Source) -> tuple[Image, str]:
    """Read a radiograph; if its file is gone, return the prepared image, else a black one."""
    try:
        return read_radiograph(source.path).pixels, "original"
    except UnreadableImageError:
        if source.fallback is not None:
            return np.asarray(source.fallback), "prepared"
        return np.zeros((64, 64), np.uint8), "missing"
