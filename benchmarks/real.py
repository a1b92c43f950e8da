"""Recipes on real radiographs: each row is trained on four folds of the images and judged on the fifth.

    python benchmarks/real.py --images FOLDER --labels CSV --write docs/method.md

FOLDER holds the 3,205 test images of the competition; CSV is a submission of another team
(ImageId,EncodedPixels), which serves as their labels: masks that a model drew, so a figure says how much of
another model's judgement was learnt. Neither may enter a repository.

Resumable: trained rows stay below --root, and the same command resumes; --hours ends it in time. A row is
a line of TRIALS. Held-out images are evaluated at 1024x1024.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pneumothorax.data.studies import find_studies
from pneumothorax.errors import UserError, warn
from pneumothorax.legs import legs_of
from pneumothorax.recipes import find_recipe
from pneumothorax.training.fold_folder import FoldFolder
from real_table import check_alike, draw_sheet, measure, write_table
from trials import Trial, flags, put_between, run_command, text_around

MARK = "<!-- written by benchmarks/real.py -->"
LITE_128: dict[str, object] = {"size": 128, "epochs": 8, "legs": ""}
RANDOM: dict[str, object] = {"encoder_weights": "none"}


def of_lite(name: str, text: str, base: str = "lite128", **changes: object) -> Trial:
    """Return a row that differs from the row `lite128` in some fields, and is compared with it or another."""
    return Trial(name, text, "lite", {**LITE_128, **changes}, base)


def per_image(name: str, text: str, **changes: object) -> Trial:
    """Return a row with the Dice terms of each image, compared with the row `image128`."""
    return of_lite(name, f"loss per image, {text}", "image128", loss_reduction="image", **changes)


# Run, its name in the table, recipe, fields that differ from it, and the row to compare it with.
TRIALS = [
    Trial("lite128", "Lite0, 128 px, 8 epochs", "lite", LITE_128),
    of_lite("random128", "random weights", **RANDOM),
    of_lite("image128", "loss per image", loss_reduction="image"),
    per_image("image-dice128", "bce + dice", loss="bce + dice + 0.1 * classification"),
    per_image("image-head128", "classification head's times 1", loss="bce + log_dice + 1 * classification"),
    per_image("image-rate128", "learning rate 1e-3", learning_rate=1e-3),
    of_lite(
        "frozen128",
        "encoder frozen for 2 epochs",
        epochs=2,
        encoder_rate=0.0,
        legs="encoder_rate=1, epochs=6",
    ),
    of_lite("slow128", "encoder at 0.3 of the rate", encoder_rate=0.3),
    of_lite("batchnorm128", "frozen batch normalisation of the encoder", freeze_batch_norm=True),
    of_lite("decay128", "weight decay 0.01", weight_decay=0.01),
    of_lite("head128", "classification head's loss times 1", loss="bce + log_dice + 1 * classification"),
    of_lite("rate128", "learning rate 1e-3", learning_rate=1e-3),
    of_lite("dice128", "bce + dice", loss="bce + dice + 0.1 * classification"),
    of_lite("wide128", "shift 0.12, zoom 0.2", shift=0.12, zoom=0.2),
    of_lite("long128", "16 epochs", epochs=16),
    of_lite("focal128", "3 bce + dice + 4 focal", loss="3 * bce + dice + 4 * focal + 0.1 * classification"),
    of_lite("lovasz128", "bce + Lovasz", loss="bce + lovasz + 0.1 * classification"),
    of_lite("hard128", "hard negatives", hard_negatives=True),
    of_lite("best128", "mean of the 3 best epochs", average_best=3),
    of_lite("boundary128", "+ 0.1 boundary", loss="bce + log_dice + 0.1 * boundary + 0.1 * classification"),
    Trial("lite256", "`lite`: then 12 epochs at 256 px", "lite", {}, "lite128"),
    Trial(
        "strong256", "`strong`, 256 px, random weights", "strong", {**RANDOM, "legs": ""}, "", on_request=True
    ),
]


def main(arguments: Sequence[str] | None = None, trials: Sequence[Trial] = TRIALS) -> int:
    """Train the missing rows, write the table, draw the sheets; return the exit code."""
    options = parse(arguments, trials)
    try:
        check(options, trials)
        train(options, trials)
        return report(options, trials)
    except UserError as error:
        print(f"real.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes where this one stopped", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str] | None, trials: Sequence[Trial]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="rows: " + ", ".join(trial.name + " (if named)" * trial.on_request for trial in trials),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, help="folder of the real radiographs")
    parser.add_argument("--labels", type=Path, help="CSV with their masks: ImageId,EncodedPixels")
    parser.add_argument("--root", type=Path, default=Path("build/real"), help="where data and runs lie")
    parser.add_argument("--fold", type=int, default=0, help="which of the recipe's folds is held out")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train these rows alone")
    parser.add_argument("--hours", type=float, help="end within this time; the same command resumes")
    parser.add_argument("--write", type=Path, help="put the table into this file, between its marks")
    return parser.parse_args(arguments)


def check(options: argparse.Namespace, trials: Sequence[Trial]) -> None:
    """Check all that can be wrong before hours of training.

    Raises:
        UserError: Something is.
    """
    for flag, expected in (
        ("images", "the folder of the real radiographs"),
        ("labels", "the CSV of their masks"),
    ):
        if getattr(options, flag) is None:
            raise UserError(f"no --{flag}", expected, "docs/method.md says which they are")
    names = [trial.name for trial in trials]
    if strange := [name for name in options.only or [] if name not in names]:
        raise UserError(f"row {strange[0]!r} in --only", "one of " + ", ".join(names))
    if options.hours is not None and not options.hours > 0:
        raise UserError(f"--hours {options.hours:g}", "a time above 0")
    if options.write:
        text_around(options.write, MARK)
    table = find_studies(options.images, options.labels).table
    if not (table["part"] == "train").any():
        raise UserError(
            f"no image of {options.images} has a row in {options.labels}", "the labels of these images"
        )
    for trial in chosen(options, trials):
        find_recipe(trial.recipe, **trial.changes)


def chosen(options: argparse.Namespace, trials: Sequence[Trial]) -> list[Trial]:
    """Return the rows to train, in their order."""
    if options.only:
        return [trial for trial in trials if trial.name in options.only]
    return [trial for trial in trials if not trial.on_request]


def fold_of(options: argparse.Namespace, trial: Trial) -> FoldFolder:
    return FoldFolder(options.root / "runs" / trial.name / f"fold{options.fold}")


def train(options: argparse.Namespace, trials: Sequence[Trial]) -> None:
    """Prepare images and train, row after row, until all are trained or the time is over."""
    deadline = time.monotonic() + 3600 * (options.hours or math.inf)
    prepared: set[tuple[str | int, ...]] = set()
    for trial in chosen(options, trials):
        fold, recipe = fold_of(options, trial), find_recipe(trial.recipe, **trial.changes)
        if fold.scores.is_file():
            continue
        needed = (recipe.interpolation, *(leg.size for leg in legs_of(recipe)))
        if needed not in prepared:
            source = [f"--raw={options.images}", f"--annotations={options.labels}"]
            run_command(options.root, "prepare", *source, f"--recipe={trial.recipe}", *flags(trial.changes))
            prepared.add(needed)
        words = [f"--recipe={trial.recipe}", f"--run={trial.name}", f"--fold={options.fold}"]
        hours = (deadline - time.monotonic()) / 3600
        if hours > 0:
            limit = [f"--max-hours={hours:.4f}"] if options.hours else []
            run_command(options.root, "train", *words, *flags(trial.changes), *limit)
        if options.hours and not fold.scores.is_file():
            print(f"--hours {options.hours:g} are over; the same command resumes", file=sys.stderr)
            return


def report(options: argparse.Namespace, trials: Sequence[Trial]) -> int:
    """Print the table of all rows that are trained, and draw their sheets.

    Raises:
        UserError: A row was trained by another recipe, or on other images or labels than the others.
    """
    results = [
        measure(trial, fold)
        for trial, fold in ((trial, fold_of(options, trial)) for trial in trials)
        if fold.scores.is_file()
    ]
    if not results:
        print(f"no row is trained in {options.root / 'runs'} yet", file=sys.stderr)
        return 0
    check_alike(results)
    table = write_table(results, options.fold)
    print(table)
    if options.write:
        put_between(options.write, MARK, table)
    for result in results:
        try:
            print(draw_sheet(result, options.root / "overlays" / f"{result.trial.name}.png"))
        except UserError as error:  # images that were moved cost the sheet alone
            warn(f"no sheet of {result.trial.name}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
