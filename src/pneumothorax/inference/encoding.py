"""Trained folds and prepared images -> each fold's features on disk: see `inference.features`."""

import hashlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from pneumothorax import interrupts
from pneumothorax.data.cache import Cache, digest_studies
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference.features import Halves, Rows, is_current, write_features
from pneumothorax.inference.fold_networks import Networks, load_folds
from pneumothorax.inference.grad_cam import FEATURE, GRAD_CAM, look_inside
from pneumothorax.model.memory import images_at_once
from pneumothorax.training.fold_folder import FoldFolder, read_environment
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import common_recipe

LARGEST = float(np.finfo(np.float16).max)


def compute_features(folds: Sequence[FoldFolder], cache: Cache) -> list[FoldFolder]:
    """Compute and store the features of all training images, by each fold that has none of its weights.

    A fold's features are stored as soon as they are complete, so that the same call resumes after a kill.

    Args:
        folds: Trained folds of one run.
        cache: The prepared training images, at the size of the last leg.

    Returns:
        The folds that were computed.

    Raises:
        UserError: The run was trained on other data, weights are damaged, or memory is too small.
    """
    wanted = [fold for fold in folds if not is_current(fold)]
    if not wanted:
        return []
    recipe, data = common_recipe(wanted), digest_studies(cache.studies)
    for fold in wanted:
        if read_environment(fold).get("data", data) != data:
            raise UserError(
                f"{fold.path} was trained on other images, masks or patients than those in {cache.folder}",
                "the images that it was trained on",
                "prepare those again",
            )
    first = _find_first(cache)
    networks = load_folds(wanted)
    networks = networks.seen_as(look_inside(networks.model))
    if networks.size != cache.images.shape[1]:
        raise UserError(
            f"images of {cache.images.shape[1]} pixels for a network of {networks.size}", "the same size"
        )
    for number, fold in enumerate(wanted):
        split = divide(cache.studies, recipe, int(fold.path.name.removeprefix("fold")))
        trained = np.ones(len(cache.studies), np.int64)
        trained[np.concatenate([split.validation, split.out_of_fold, split.test])] = 0
        values, grad_cam = _encode(networks, number, cache, f"features of {fold.path.name}")
        studies = cache.studies.assign(trained=trained, first=first)
        write_features(fold, values, grad_cam, studies, {**digest_folds([fold.weights]), "data": data})
    return wanted


def _encode(networks: Networks, number: int, cache: Cache, title: str) -> tuple[Halves, Halves | None]:
    """Return one fold's features, float16 of shape (N, C), and Grad-CAM of shape (N, h, w) or None."""
    count = len(cache.images)
    batch = min(count, images_at_once(networks.model))
    parts: dict[str, list[Halves]] = {FEATURE: [], GRAD_CAM: []}
    with interrupts.checked_loop(), tqdm(total=count, desc=title, unit="image", disable=None) as bar:
        for start in range(0, count, batch):
            interrupts.check()
            rows = np.minimum(np.arange(start, start + batch), count - 1)  # one shape: compiled once
            outputs = networks.predict(number, np.asarray(cache.images[rows])[..., None])
            networks.check(number, outputs)
            kept = min(batch, count - start)
            for name, array in outputs.items():
                parts[name].append(np.clip(array[:kept], 0, LARGEST).astype(np.float16))
            bar.update(kept)
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
    return whole[FEATURE], whole.get(GRAD_CAM)


def _find_first(cache: Cache) -> Rows:
    """Return the row of the first image with the same pixels as each, shape (N,)."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in cache.images)
    return np.array([seen.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)
