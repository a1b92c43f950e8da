"""Images -> small JPEG pictures inside a page."""

import base64
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.report.figures import outlined

QUALITY = 75  # of JPEG

Images = npt.NDArray[np.uint8]


class Tile(NamedTuple):
    """A picture of a page.

    Attributes:
        source: A `data:` address.
        side: Side in pixels.
        alt: Text for screen readers.
        title: First line below it.
        lines: Further lines below it.
    """

    source: str
    side: int
    alt: str
    title: str
    lines: list[str]


def make_tile(image: Images, mask: Images, side: int, title: str, *lines: str) -> Tile:
    """Make a picture of an image with its mask outlined.

    Args:
        image: uint8 array of shape (S, S).
        mask: uint8 array of shape (S, S), soft mask 0-255.
        side: Side in pixels, at most that of a tile on a sheet.
        title: The image's name.
        lines: Further lines of text.
    """
    drawn = cv2.resize(outlined(image, mask), (side, side), interpolation=cv2.INTER_AREA)
    coded = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR if mask.any() else cv2.COLOR_RGB2GRAY)
    _, data = cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    source = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
    outline = ", pneumothorax outlined" if mask.any() else ""
    return Tile(source, side, f"Radiograph {title}{outline}", title, [line for line in lines if line])
