"""Results of `real.py`: measures, table and sheets of the trained rows; trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pneumothorax.data.batches import epoch_size
from pneumothorax.errors import UserError
from pneumothorax.inference.classification import image_scores
from pneumothorax.inference.pixel_counts import THRESHOLDS, count, judge
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.tuning import Tuned, tune_images
from pneumothorax.legs import legs_of
from pneumothorax.metric import dice
from pneumothorax.recipe import Recipe, differences
from pneumothorax.recipes import find_recipe
from pneumothorax.report.figures import draw_cases, pick_cases
from pneumothorax.report.run_figures import make_case
from pneumothorax.training.fold_folder import FoldFolder, read_environment, read_recipe
from pneumothorax.training.history import read_history
from pneumothorax.training.sessions import read_sessions
from trials import Trial, auc_interval, interval

COLUMNS = (
    "labels: another model's masks",
    "images seen",
    "minutes",
    "AUC, head",
    "AUC, map",
    "metric",
    "against all-empty",
    "Dice, positives",
    "the same, best cut",
    "specificity",
    "metric against another row",
)
TILES = 5  # in a row of the sheet


@dataclass(frozen=True)
class Result:
    """How a trained row fared on the held-out fold.

    Attributes:
        trial: The row.
        recipe: By which it was trained.
        part: Its N held-out probabilities.
        tuned: The rule, and the nested Dice of each image.
        at_best_cut: Dice of each image with a pneumothorax where the map is cut at `cut`, shape (P,).
        cut: The cut that gives those images the highest mean Dice.
        seen: Images that it has seen in training, with repetition; None where that was not noted.
        seconds: Of training and validation together.
        machine: Machine and versions of the training.
    """

    trial: Trial
    recipe: Recipe
    part: Predictions
    tuned: Tuned
    at_best_cut: np.ndarray
    cut: float
    seen: int | None
    seconds: float
    machine: str


def measure(trial: Trial, fold: FoldFolder) -> Result:
    """Judge the held-out images of a trained row.

    Raises:
        UserError: It was trained by another recipe than the row's, or its files are damaged.
    """
    recipe, history, sessions = read_recipe(fold), read_history(fold), read_sessions(fold)
    wanted = replace(find_recipe(trial.recipe, **trial.changes), name=recipe.name)
    if changed := differences(recipe, wanted):
        raise UserError(
            f"{fold.path} was trained by another recipe than row {trial.name} ({'; '.join(changed)})",
            remedy="delete the folder, or give the row another name",
        )
    part = read_predictions(fold.out_of_fold)
    tuned, counts = tune_images([part]), count(part)
    at_cuts = dice(counts.overlap, counts.truth[:, None], counts.area)[tuned.positive]  # (P, T)
    best = int(at_cuts.mean(axis=0).argmax())
    seen = None
    if sessions:
        positives, negatives = sessions[0].positives, sessions[0].images - sessions[0].positives
        legs, numbers = legs_of(recipe), history["leg"] if "leg" in history else history["epoch"] * 0 + 1
        seen = sum(
            epoch_size(legs[int(leg) - 1], positives, negatives, at)
            for leg, epochs in numbers.groupby(numbers)
            for at in range(len(epochs))
        )
    machines = dict.fromkeys(one.machine for one in sessions)
    environment = read_environment(fold)
    versions = [f"{key} {environment[key]}" for key in ("keras", "precision") if key in environment]
    return Result(
        trial=trial,
        recipe=recipe,
        part=part,
        tuned=tuned,
        at_best_cut=at_cuts[:, best],
        cut=float(THRESHOLDS[best]),
        seen=seen,
        seconds=float(history["seconds"].sum()),
        machine=", ".join([" and ".join(machines) or "an unknown machine", *versions]),
    )


def check_alike(results: Sequence[Result]) -> None:
    """Check that all rows held out the same images with the same labels.

    Raises:
        UserError: One did not.
    """
    columns = ["ImageId", "EncodedPixels"]
    first = results[0]
    for result in results[1:]:
        if not result.part.studies[columns].equals(first.part.studies[columns]):
            raise UserError(
                f"{result.part.folder} holds other images or labels than {first.part.folder}",
                "one fold of the same images in all rows",
                "train into another --root",
            )


def write_table(results: Sequence[Result], number: int) -> str:
    """Write the rows as a Markdown table, with notes for the reader under it.

    Args:
        results: At least one.
        number: Of the fold that is held out.
    """
    first = results[0].tuned
    empty = (~first.positive).astype(float)
    by_name = {result.trial.name: result for result in results}
    rows = [["all-empty", *["-"] * 4, interval(empty, first.patients), "-", "0", "-", "1", "-"]]
    rows += [write_row(result, by_name.get(result.trial.base)) for result in results]
    alone = " Each image counts as a patient of its own: the patients are not known."
    each = alone if len(set(first.patients)) == len(empty) else ""
    names = " ".join(result.trial.name for result in results)
    fold = f" --fold {number}" if number else ""
    lines = ["| " + " | ".join(cells) + " |" for cells in [COLUMNS, ["---"] * len(COLUMNS), *rows]]
    lines += [
        "",
        f"{len(empty):,} held-out real radiographs, {int(first.positive.sum()):,} of them with a "
        "pneumothorax by labels that are **another model's masks, not a radiologist's**. Metric, Dice and "
        "specificity are by the tuned rule, nested over five groups of patients; the best cut is one "
        "threshold for all images, without least area or classification threshold, chosen on these images; "
        "AUC is that of the classification head and of the map's maximum. 95 % intervals by drawing "
        f"patients.{each} Minutes hold training and validation, {describe_machines(results)}. By "
        f"`python benchmarks/real.py --images FOLDER --labels CSV{fold} --only {names} "
        "--write docs/method.md`.",
    ]
    return "\n".join(lines)


def write_row(result: Result, base: Result | None) -> list[str]:
    """Write the cells of one row; the mean Dice of images without a pneumothorax is the specificity."""
    tuned, positive = result.tuned, result.tuned.positive
    maps_alone = replace(
        result.part, studies=result.part.studies.drop(columns="image_probability", errors="ignore")
    )
    of_head = None if result.part.image_probability is None else tuned.scores
    against = "-"
    if base is not None:
        difference = interval(tuned.each - base.tuned.each, tuned.patients, signed=True)
        against = f"{difference} ({base.trial.text})"
    return [
        result.trial.text,
        "-" if result.seen is None else f"{result.seen:,}",
        f"{result.seconds / 60:.1f}",
        auc_interval(positive, of_head, tuned.patients),
        auc_interval(positive, image_scores(maps_alone), tuned.patients),
        interval(tuned.each, tuned.patients),
        interval(tuned.each - ~positive, tuned.patients, signed=True),
        interval(tuned.each[positive], tuned.patients[positive]),
        f"{interval(result.at_best_cut, tuned.patients[positive])} at {result.cut:g}",
        interval(tuned.each[~positive], tuned.patients[~positive]),
        against,
    ]


def describe_machines(results: Sequence[Result]) -> str:
    """Say which machine trained which rows."""
    rows: dict[str, list[str]] = {}
    for result in results:
        rows.setdefault(result.machine, []).append(result.trial.name)
    if len(rows) == 1:
        return f"on {results[0].machine}"
    return "; ".join(f"{', '.join(names)} on {machine}" for machine, names in rows.items())


def draw_sheet(result: Result, path: Path) -> Path:
    """Draw the best, typical and failed images with a pneumothorax, and a gallery drawn at random.

    Trained on positives alone, a network is cut at 0.5; any other is judged by the tuned rule.

    Raises:
        UserError: An image is no longer where it was prepared from.
    """
    rule = Rule() if result.recipe.positives_only else result.tuned.decision.rule
    each, positive = judge(result.part, rule), np.flatnonzero(result.tuned.positive)
    picked = {name: positive[rows] for name, rows in pick_cases(each[positive], TILES).items()}
    generator = np.random.default_rng(0)
    for name, rows in (("with", positive), ("without", np.flatnonzero(~result.tuned.positive))):
        drawn = generator.choice(rows, min(TILES, len(rows)), replace=False)
        picked[f"gallery, {name}"] = np.sort(drawn)
    picked["failed"] = picked.pop("worst")
    order = ("best", "typical", "failed", "gallery, with", "gallery, without")
    groups = {
        name: [make_case(result.part, int(row), rule, each[row]) for row in picked[name]] for name in order
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_cases(groups, path)
    return path
