"""Run folders and cached images -> probabilities: the mean over the folds, keyed by row.

Reads size, scaling and network from the run's own recipe, so that it cannot disagree with training.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from pneumothorax import interrupts
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.errors import UserError
from pneumothorax.inference.fold_networks import Networks, load_folds
from pneumothorax.inference.predictions import Floats, Maps, Predictions, quantise, write_predictions
from pneumothorax.model.memory import images_at_once

__all__ = ["load_folds", "predict_rows", "see"]

SUMS = 1 << 27  # bytes of float32 sums in memory at a time: 2,048 images of 128 pixels, 128 of 512


def predict_rows(
    networks: Networks,
    cache: Cache,
    rows: Rows,
    folder: Path,
    title: str = "predict",
    *,
    flip: bool = False,
    made_of: Mapping[str, str] | None = None,
) -> Predictions:
    """Predict some rows of a cache by the mean of several folds, and write the result.

    Networks that also tell how probable a pneumothorax is in the image leave that mean as its
    image_probability.

    Args:
        networks: The folds.
        cache: The images.
        rows: Which of them, in the order of the result.
        folder: Where to.
        title: Text of the progress bar.
        flip: Whether each network also sees the mirror images, and the mean of both counts.
        made_of: Digests of the folds' weights, noted with the result.

    Raises:
        UserError: The networks want another size than the cache has, or the device has too little memory.
    """
    size = cache.images.shape[1]
    if networks.size != size:
        raise UserError(f"images of {size} pixels for a network of {networks.size}", "the same size")
    parts = _probabilities(networks, cache, rows, title, flip)
    with interrupts.checked_loop():
        studies = cache.studies.iloc[rows].reset_index(drop=True)
        return write_predictions(folder, parts, studies, size, made_of)


def _probabilities(
    networks: Networks, cache: Cache, rows: Rows, title: str, flip: bool
) -> Iterator[Maps | tuple[Maps, Floats]]:
    """Yield the rows' maps, uint8 of shape (N, S, S), and image-level probabilities, a part at a time."""
    batches = max(1, -(-len(rows) // images_at_once(networks.model)))
    batch = max(1, -(-len(rows) // batches))  # so that hardly an image fills the last one
    together = max(1, SUMS // (4 * networks.size**2) // batch) * batch
    passes, seen = len(networks) * (1 + flip), 0
    with tqdm(total=len(rows), desc=title, unit="image", disable=None) as bar:

        def advance(images: int) -> None:
            nonlocal seen
            seen += images
            bar.update(seen // passes - bar.n)

        for start in range(0, len(rows), together):
            images = np.asarray(cache.images[rows[start : start + together]])
            maps, image_probability = see(networks, images, flip=flip, batch=batch, advance=advance)
            yield maps if image_probability is None else (maps, image_probability)


def see(
    networks: Networks,
    images: Maps,
    *,
    flip: bool,
    batch: int | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> tuple[Maps, Floats | None]:
    """Return the mean of several folds' outputs for some images.

    Every batch has the same number of images, so that the network is traced and compiled once: the last is
    filled with its last image again. While the device works on a batch, the one before is added up.

    Args:
        networks: Networks of the images' size.
        images: uint8 array of shape (N, S, S).
        flip: Whether each network also sees the mirror images.
        batch: Images at a time; None takes all at once.
        advance: Is called after each pass over a batch, with its number of images.

    Returns:
        Quantised probabilities, uint8 of shape (N, S, S), and image-level probabilities of shape (N,), None
        where the networks have no classification head.

    Raises:
        UserError: An output is no finite number, or the device has too little memory.
    """
    count = len(images)
    number = batch or count
    whole = -(-number // _count_shards()) * _count_shards()
    sums = _Sums(networks, images.shape, (1 + flip) * len(networks))
    adding: Future[None] | None = None
    with ThreadPoolExecutor(1) as pool:
        for fold, start, step in itertools.product(
            range(len(networks)), range(0, count, number), (1, -1) if flip else (1,)
        ):
            interrupts.check()
            part = slice(start, min(start + number, count))
            outputs = networks.predict(fold, _fill(images[part, :, ::step, None], whole))
            if adding is not None:
                adding.result()
            adding = pool.submit(sums.add, fold, part, step, outputs)
            advance(part.stop - part.start)
        if adding is not None:
            adding.result()
    return sums.maps, sums.image_probability


class _Sums:
    """The outputs of several passes over some images, added up as they come and quantised after the last.

    Args:
        networks: Whose outputs.
        shape: Of the images, (N, S, S).
        passes: How many each image takes.

    Attributes:
        maps: Quantised mean probabilities, uint8 of shape (N, S, S).
        image_probability: Mean image-level probabilities of shape (N,), or None.
    """

    def __init__(self, networks: Networks, shape: tuple[int, ...], passes: int) -> None:
        self.networks, self.passes = networks, passes
        self.total = np.zeros(shape, np.float32)
        self.left = np.full(shape[0], passes)  # passes of each image
        self.maps = np.zeros(shape, np.uint8)
        self.image_probability: Floats | None = None

    def add(self, fold: int, part: slice, step: int, outputs: dict[str, np.ndarray]) -> None:
        """Add one pass over a batch, of which images beyond the part only fill it.

        Raises:
            UserError: An output is no finite number.
        """
        count = part.stop - part.start
        outputs = {name: array[:count] for name, array in outputs.items()}
        self.networks.check(fold, outputs)
        self.total[part] += outputs["probability"][:, :, ::step, 0]
        if "classification" in outputs:
            if self.image_probability is None:
                self.image_probability = np.zeros(len(self.maps))
            self.image_probability[part] += outputs["classification"][:, 0]
        self.left[part] -= 1
        if self.left[part.start]:
            return
        self.maps[part] = quantise(self.total[part] / self.passes)
        if self.image_probability is not None:
            self.image_probability[part] /= self.passes


def _fill(images: Maps, number: int) -> Maps:
    """Repeat the last image until there are so many."""
    if len(images) < number:
        images = np.concatenate([images, np.repeat(images[-1:], number - len(images), axis=0)])
    return np.ascontiguousarray(images)


def _count_shards() -> int:
    """Count the devices among which Keras divides each batch; their number must divide the batch's."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)
