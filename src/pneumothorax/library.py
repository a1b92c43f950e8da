"""The package as a library: train, tune, predict and segment with arrays, without a workspace.

The same stages as the commands; a run folder that one writes the other reads. Imported by
`import pneumothorax` when one of its names is used, and Keras when a function computes.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.data.cache import Cache, shrink
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision, decide, read_decision, write_decision
from pneumothorax.inference.ensemble import out_of_fold_parts
from pneumothorax.inference.plan import Plan, looks_of, make_plan
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.tuning import tune as find_rule
from pneumothorax.legs import last_leg, legs_of
from pneumothorax.metric import dice as dice_of_counts
from pneumothorax.recipe import Recipe
from pneumothorax.recipes import find_recipe
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import find_folds

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Masks = npt.NDArray[np.bool_] | npt.NDArray[np.integer]


class Prediction(NamedTuple):
    """Output of a run's networks for one image.

    Attributes:
        probabilities: uint8 array of shape (S, S), 255 times the probability of each pixel.
        image_probability: That the image shows a pneumothorax; None without a classification head.
    """

    probabilities: Image
    image_probability: float | None


def dice(truth: Masks, prediction: Masks) -> float:
    """Return the competition's metric of one image: the Dice coefficient, 1 where both masks are empty.

    Args:
        truth: Mask of shape (H, W), nonzero inside.
        prediction: Mask of the same shape.

    Raises:
        ValueError: The shapes differ.
    """
    if np.shape(truth) != np.shape(prediction):
        raise ValueError(f"masks of shapes {np.shape(truth)} and {np.shape(prediction)}; expected one shape")
    inside, found = np.asarray(truth) != 0, np.asarray(prediction) != 0
    counts = (np.count_nonzero(both) for both in (inside & found, inside, found))
    return float(dice_of_counts(*(np.array([count]) for count in counts))[0])


def train(
    recipe: Recipe | str,
    images: Sequence[Image] | Image,
    masks: Sequence[Masks] | Masks,
    run: Path | str,
    *,
    fold: int = 0,
    patients: Sequence[str] | None = None,
    max_hours: float | None = None,
) -> bool:
    """Train one fold of a recipe; resume where an earlier call ended.

    Args:
        recipe: Training configuration, or the name of one ('strong', 'lite', ...).
        images: N radiographs, uint8 of shape (H, W) each; resized to the recipe's sizes.
        masks: Their masks, of the same shape each, nonzero inside a pneumothorax.
        run: Run folder; the fold lies in `run/fold0` and so on.
        fold: Fold that is held out; its probabilities are stored for `tune`.
        patients: Patient of each image, so that no patient lies in two folds; by default each image counts
            as a patient.
        max_hours: Stop after the epoch that ends nearest before this time.

    Returns:
        Whether the fold is trained; False if `max_hours` were over before.

    Raises:
        UserError: The arrays do not fit together, or the run has another recipe or other images.
    """
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    deadline = None if max_hours is None else time.monotonic() + 3600 * max_hours
    studies = _describe(images, masks, patients)
    sizes = {leg.size: leg.interpolation for leg in legs_of(recipe)}
    caches = [_shrink_all(images, masks, studies, Path(run), *size) for size in sizes.items()]
    split, folder = divide(studies, recipe, fold), FoldFolder(Path(run) / f"fold{fold}")

    from pneumothorax.inference.held_out import score_fold
    from pneumothorax.training.fit import fit_fold
    from pneumothorax.training.hardware import make_strategy

    first, *later = caches
    if not fit_fold(recipe, first, split, folder, later=later, strategy=make_strategy(), deadline=deadline):
        return False
    score_fold(folder, caches[-1], split, last_leg(recipe))
    return True


def tune(run: Path | str) -> Decision:
    """Choose a run's decision rule by the held-out probabilities of its folds, and store it with the run.

    Raises:
        UserError: The run has no trained fold, or no positive image among those held out.
    """
    folder = Path(run)
    decision = find_rule(out_of_fold_parts(folder))
    made_of = digest_folds(fold.weights for fold in find_folds(folder))
    write_decision(folder / "decision.json", decision, made_of)
    return decision


def predict(run: Path | str, images: Sequence[Image] | Image) -> Iterator[Prediction]:
    """Predict images, one after the other, by the mean of a run's folds or of an ensemble's members.

    Args:
        run: Run folder.
        images: Radiographs, uint8 of shape (H, W) each, of any size (see `read_radiograph`).

    Returns:
        An iterator over the prediction of each image.

    Raises:
        UserError: The run has no trained fold, or an image is no grey uint8 array.
    """
    for number, image in enumerate(images):
        _check_image(number, image)
    return _predict(make_plan(Path(run)), images)


def segment(run: Path | str, images: Sequence[Image] | Image, rule: Rule | None = None) -> Iterator[Mask]:
    """Segment images, one after the other, each at its own size.

    Args:
        run: Run folder.
        images: Radiographs, uint8 of shape (H, W) each, of any size.
        rule: Rule from probability to mask; by default the one that `tune` stored with the run.

    Returns:
        An iterator over masks, bool of shape (H, W), all False without a pneumothorax.

    Raises:
        UserError: As `predict`; or the run has no rule yet.
    """
    used = rule or read_decision(Path(run) / "decision.json").rule
    found = zip(images, predict(run, images), strict=True)
    return (decide(one.probabilities, used, np.shape(image), one.image_probability) for image, one in found)


def _predict(plan: Plan, images: Sequence[Image] | Image) -> Iterator[Prediction]:
    from pneumothorax.inference.networks import load_networks, predict_views

    looks = looks_of(plan)
    views = ((None, {look: shrink(np.asarray(image), *look) for look in looks}) for image in images)
    for _, probabilities, image_probability in predict_views(plan, load_networks(plan), views, len(images)):
        yield Prediction(probabilities, image_probability)


def _check_image(number: int, image: Image) -> None:
    found = np.asarray(image)
    if found.ndim != 2 or found.dtype != np.uint8 or not found.size:
        raise UserError(
            f"image {number}: {found.dtype} of shape {found.shape}", "grey levels, uint8 of shape (H, W)"
        )


def _describe(
    images: Sequence[Image] | Image, masks: Sequence[Masks] | Masks, patients: Sequence[str] | None
) -> pd.DataFrame:
    """Describe images and masks as a table of studies, the masks at the competition's size.

    Raises:
        UserError: Their numbers or shapes differ, or an image is no grey uint8 array.
    """
    lengths = {"images": len(images), "masks": len(masks)}
    if patients is not None:
        lengths["patients"] = len(patients)
    if len(set(lengths.values())) > 1 or not len(images):
        found = ", ".join(f"{number:,} {name}" for name, number in lengths.items())
        raise UserError(found, "as many of each, and at least one")
    codes = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        _check_image(number, image)
        if np.shape(mask) != np.shape(image):
            raise UserError(f"image {number} of shape {np.shape(image)}, its mask of {np.shape(mask)}")
        codes.append(rle.encode(shrink(_soft(mask), rle.SHAPE[0], "bilinear") > 127))
    digits = len(str(len(images) - 1))
    return pd.DataFrame(
        {
            "ImageId": [f"image{number:0{digits}d}" for number in range(len(images))],
            "EncodedPixels": codes,
            "area": [rle.area(code) for code in codes],
            "height": rle.SHAPE[0],
            "width": rle.SHAPE[1],
            "patient": "" if patients is None else list(map(str, patients)),
        }
    )


def _shrink_all(
    images: Sequence[Image] | Image,
    masks: Sequence[Masks] | Masks,
    studies: pd.DataFrame,
    run: Path,
    size: int,
    interpolation: str,
) -> Cache:
    """Return images and masks at one size of the network, in memory."""
    pixels = np.stack([shrink(np.asarray(image), size, interpolation) for image in images])
    truth = np.stack([shrink(_soft(mask), size, interpolation) for mask in masks])
    return Cache(run, pixels, truth, studies)


def _soft(mask: Masks) -> Image:
    return np.where(np.asarray(mask) != 0, 255, 0).astype(np.uint8)
