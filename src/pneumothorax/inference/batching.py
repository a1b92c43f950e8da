"""Images in batches of one length: an image's map does not depend on how many others are left to do."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

import numpy as np

from pneumothorax.inference.plan import Look
from pneumothorax.inference.predictions import Floats, Maps

MOST_AT_ONCE = 8  # images: more make a network on a CPU no faster, and let the threads beside it wait

Views = Mapping[Look, Maps]  # one image as each network wants it, uint8 of shape (S, S)
# From a batch of each look to maps, uint8 of shape (B, S, S), and image-level probabilities or None.
See = Callable[[Views], tuple[Maps, Floats | None]]
Key = TypeVar("Key")


def predict_batches(
    see: See, images: Iterable[tuple[Key, Views]], number: int
) -> Iterator[tuple[Key, Maps, float | None]]:
    """Yield each image's map and its image-level probability, in their order.

    Args:
        see: Predicts a batch.
        images: Each with a key of its own, which is handed through.
        number: Images in each batch; the last is filled with its last image again.

    Yields:
        Key, uint8 array of shape (S, S) with values 255 p, and the image-level probability or None.
    """
    stream = iter(images)
    while batch := list(islice(stream, number)):
        views = [view for _, view in batch]
        full = [*views, *[views[-1]] * (number - len(views))]
        maps, image_probability = see({look: np.stack([view[look] for view in full]) for look in views[0]})
        values = [None] * len(batch) if image_probability is None else image_probability.tolist()
        yield from ((key, one, value) for (key, _), one, value in zip(batch, maps, values, strict=False))
