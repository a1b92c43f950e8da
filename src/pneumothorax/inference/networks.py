"""Images that are in no cache -> the maps that `predict` and `ensemble` would store.

Carries out an `inference.plan`: each network sees an image at its own size and interpolation.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pneumothorax.inference.averaging import mean_map
from pneumothorax.inference.batching import MOST_AT_ONCE, Key, Views, predict_batches
from pneumothorax.inference.fold_networks import Networks, load_folds
from pneumothorax.inference.plan import Ensemble, Look, Plan, size_of, trained_of
from pneumothorax.inference.predict import see
from pneumothorax.inference.predictions import Floats, Maps
from pneumothorax.model.memory import images_at_once

Models = Mapping[str, Networks]  # of all folds, by the name of the run


def load_networks(plan: Plan) -> Models:
    """Load the networks of all folds of a plan, by the name of their run.

    Raises:
        UserError: A fold is incomplete, or its weights are damaged or belong to another network.
    """
    runs = {one.run.name: one for one in trained_of(plan)}
    return {name: load_folds(one.folds) for name, one in runs.items()}


def predict_views(
    plan: Plan, models: Models, images: Iterable[tuple[Key, Views]], expected: int
) -> Iterator[tuple[Key, Maps, float | None]]:
    """Predict each image's map, and its image-level probability where all networks have one, in their order.

    Args:
        plan: Which networks, and how they count.
        models: Its networks, by `load_networks`.
        images: Each with a key of its own, which is handed through.
        expected: How many there are in all, those of an earlier try included.

    Returns:
        An iterator over key, uint8 array of shape (S, S) with values 255 p, and the image-level probability
        or None.
    """
    number = max(1, min(MOST_AT_ONCE, expected, *(images_at_once(one.model) for one in models.values())))
    return predict_batches(lambda views: _see(plan, models, views), images, number)


def _see(plan: Plan, models: Models, images: Mapping[Look, Maps]) -> tuple[Maps, Floats | None]:
    """Return a batch's maps, uint8 of shape (B, S, S), and image-level probabilities if all have them."""
    if not isinstance(plan, Ensemble):
        maps, image_probability = see(models[plan.run.name], images[plan.look], flip=plan.recipe.flip_tta)
        return maps, None if image_probability is None else image_probability.round(6)
    weights = [weight for weight, _ in plan.members]
    seen = [_see(member, models, images) for _, member in plan.members]
    size = size_of(plan)
    means = [mean_map(of_image, weights, size) for of_image in zip(*(maps for maps, _ in seen), strict=True)]
    values = [image_probability for _, image_probability in seen if image_probability is not None]
    if len(values) < len(seen):
        return np.stack(means), None
    return np.stack(means), np.average(values, axis=0, weights=weights).round(6)
