"""From `seed` to `strong`, one ingredient at a time, on the artificial competition: the gain of each.

    python benchmarks/ablation.py --write docs/method.md

Resumable: trained rows stay in build/ablation, and the same command resumes. Two hours on two cores.
Every row sees as many images in training (smaller epochs, more of them), with the same network: a ResNet18
U-Net at 64 pixels from random weights, since ImageNet's cannot be had everywhere and Xception would take a
day. Held-out images are evaluated at 1024x1024 by the rule that the other folds chose.
"""

import argparse
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pneumothorax.data.batches import epoch_size
from pneumothorax.data.columns import read_studies
from pneumothorax.data.folds import divide
from pneumothorax.inference.pixel_counts import judge
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.tuning import Tuned, tune_images
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.training.fold_folder import FoldFolder, read_recipe
from pneumothorax.workspace import write_text
from timing import describe_machine
from trials import auc_interval, flags, interval, put_between, run_command

MARK = "<!-- written by benchmarks/ablation.py -->"
STRONG = asdict(RECIPES["strong"])
# Shared by all rows, so that two cores can train them from random weights in minutes.
BASE = {
    "size": 64,
    "interpolation": "area",
    "split": "folds",
    "fold_count": 3,
    "encoder": "resnet18",
    "encoder_weights": "none",
    "decoder_filters": (128, 64, 32, 16, 16),
    "prior": 0.01,
    "batch_norm_momentum": 0.9,
    "learning_rate": 1e-3,
}
EMA = 0.97  # a moving average that follows fast enough for so short a training


def of_strong(*names: str) -> dict[str, object]:
    """Return some fields as `strong` has them."""
    return {name: STRONG[name] for name in names}


# Each adds to all before it: run, its name in the table, and the fields that change.
STEPS: list[tuple[str, str, dict[str, object]]] = [
    ("seed", "`seed`", {}),
    ("studies", "+ all studies", {"positives_only": False, "monitor": "hard_dice"}),
    ("rate", "+ sliding positive rate", of_strong("positive_rate", "positive_rate_end")),
    (
        "head",
        "+ classification head",
        {"classification_head": True, "loss": "bce + log_dice + 0.1 * classification"},
    ),
    ("cosine", "+ warm-up, cosine, clipping", of_strong("schedule", "warmup_epochs", "clip_norm")),
    (
        "augmented",
        "+ augmentation",
        of_strong(
            *("flip", "rotation_degrees", "shift", "zoom", "brightness", "contrast", "gamma", "elastic"),
            *("geometry_share", "tone_share"),
        ),
    ),
    ("tta", "+ mirror image in prediction", {"flip_tta": True}),
]
NO_AUGMENTATION = {
    "flip": False,
    **dict.fromkeys(("rotation_degrees", "shift", "zoom", "elastic", "brightness", "contrast", "gamma"), 0.0),
}
# Each changes the last of those above alone.
ALTERNATIVES: list[tuple[str, str, dict[str, object]]] = [
    ("image", "loss per image", {"loss_reduction": "image"}),
    ("ema", "moving average", {"ema": EMA}),
    ("hard", "hard negatives", {"hard_negatives": True}),
    ("best3", "mean of the 3 best epochs", {"average_best": 3}),
    ("boundary", "+ 0.1 boundary", {"loss": "bce + log_dice + 0.1 * boundary + 0.1 * classification"}),
    ("focal", "3 bce + dice + 4 focal", {"loss": "3 * bce + dice + 4 * focal + 0.1 * classification"}),
    ("lovasz", "bce + Lovasz", {"loss": "bce + lovasz + 0.1 * classification"}),
    ("long", "twice the images", {}),
    ("long_plain", "twice the images, no augmentation", NO_AUGMENTATION),
]


@dataclass(frozen=True)
class Row:
    """One row of the table: how each held-out image fared."""

    text: str
    each: np.ndarray
    positive: np.ndarray
    scores: np.ndarray | None
    patients: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("build/ablation"), help="where the runs lie")
    parser.add_argument("--images", type=int, default=900, help="train images of the artificial competition")
    parser.add_argument("--seen", type=int, default=9600, help="images that each training sees in all")
    parser.add_argument("--folds", type=int, default=3, help="how many of the three folds to train and judge")
    parser.add_argument("--only", nargs="+", help="train these rows alone, and print all finished ones")
    parser.add_argument(
        "--write", type=Path, help="put the table into this file, in the place of the last one"
    )
    options = parser.parse_args()
    run_command(
        options.root, "phantom", f"--train={options.images}", "--test=8", "--area-scale=3", "--hard-share=0.5"
    )
    run_command(options.root, "prepare", *flags({name: BASE[name] for name in ("size", "interpolation")}))
    fields: dict[str, object] = {}
    for name, text, changes in STEPS:
        fields = {**fields, **changes}
        if set(changes) == {"flip_tta"}:
            copy_weights(options, "augmented", name)
        train_row(options, name, text, fields)
    for name, text, changes in ALTERNATIVES:
        train_row(options, name, text, {**fields, **changes})
    table = write_table(make_rows(options.root / "runs"), options)
    print(table)
    if options.write:
        put_between(options.write, MARK, table)


def train_row(options: argparse.Namespace, name: str, text: str, changes: dict[str, object]) -> None:
    """Train the folds of one row, for as many epochs as its images make."""
    if options.only and name not in options.only:
        return
    fields = {**BASE, **changes}
    epochs = count_epochs(options, Recipe(**fields), 2 if name.startswith("long") else 1)
    print(f"{text}: {epochs} epochs", file=sys.stderr)
    words = flags({**fields, "epochs": epochs})
    # A network this small leaves a core idle, so the folds train side by side.
    each = tuple(f"--fold={number}" for number in range(options.folds))
    run_command(options.root, "train", "--recipe=seed", f"--run={name}", *words, each=each)


def copy_weights(options: argparse.Namespace, source: str, name: str) -> None:
    """Begin a row that differs from another in prediction alone with the weights of that one."""
    for fold in (FoldFolder(path) for path in sorted((options.root / "runs" / source).glob("fold*"))):
        target = FoldFolder(options.root / "runs" / name / fold.path.name)
        if not target.path.exists():
            shutil.copytree(
                fold.path, target.path, ignore=shutil.ignore_patterns("out_of_fold", "scores.json")
            )
            write_text(target.recipe, to_json(replace(read_recipe(target), flip_tta=True)))


def count_epochs(options: argparse.Namespace, recipe: Recipe, times: int = 1) -> int:
    """Count the epochs in which a recipe sees the wanted number of images, or so many times it."""
    folder = options.root / "data" / "cache" / f"{recipe.size}-{recipe.interpolation}" / "train"
    studies = read_studies(folder / "studies.csv")
    train = divide(studies, recipe, 0).train
    positives = int((studies["area"].to_numpy()[train] > 0).sum())

    def seen(epochs: int) -> int:
        planned = Recipe(**{**asdict(recipe), "epochs": epochs})
        return sum(epoch_size(planned, positives, len(train) - positives, at) for at in range(epochs))

    return next(epochs for epochs in range(2, 10_000) if seen(epochs) >= times * options.seen)


def make_rows(runs: Path) -> list[Row]:
    """Evaluate the trained rows."""
    rows: list[Row] = []
    for name, text, _ in [*STEPS, *ALTERNATIVES]:
        parts = read_folds(runs / name)
        if not parts:
            continue
        tuned = tune_images(parts)
        if name == "seed":
            rows += seed_rows(parts, tuned)
        else:
            last = STEPS[-1][1] if (name, text, _) in ALTERNATIVES else ""
            rows.append(to_row(f"last with {text}" if last else text, tuned))
    return rows


def read_folds(run: Path) -> list[Predictions]:
    """Read the held-out probabilities of a run's folds, if all of them are there."""
    folders = sorted(run.glob("fold*"))
    found = [FoldFolder(folder).out_of_fold for folder in folders if FoldFolder(folder).scores.is_file()]
    return [read_predictions(folder) for folder in found] if len(found) == len(folders) else []


def to_row(text: str, tuned: Tuned) -> Row:
    return Row(text, tuned.each, tuned.positive, tuned.scores, tuned.patients)


def seed_rows(parts: list[Predictions], tuned: Tuned) -> list[Row]:
    """Return all-empty, the paper's network as it is, and with the least area that other folds chose."""
    plain = np.concatenate([judge(part, Rule()) for part in parts])
    empty = (~tuned.positive).astype(float)
    return [
        Row("all-empty", empty, tuned.positive, None, tuned.patients),
        Row("`seed`, cut at 0.5", plain, tuned.positive, tuned.scores, tuned.patients),
        to_row("`seed` with the tuned rule (minimum area)", tuned),
    ]


def write_table(rows: list[Row], options: argparse.Namespace) -> str:
    """Write the rows as a Markdown table; each difference is to the row above, image by image."""
    lines = [
        "| | metric | Dice, positives | Dice, negatives | AUC | metric against the row above |",
        "|---|---|---|---|---|---|",
    ]
    base: Row | None = None
    for place, row in enumerate(rows):
        above = base if row.text.startswith("last with") else (rows[place - 1] if place else None)
        if not row.text.startswith("last with"):
            base = row
        cells = [
            interval(row.each, row.patients),
            interval(row.each[row.positive], row.patients[row.positive]),
            interval(row.each[~row.positive], row.patients[~row.positive]),
            auc_interval(row.positive, row.scores, row.patients),
            "" if above is None else interval(row.each - above.each, row.patients, signed=True),
        ]
        lines.append("| " + " | ".join([row.text, *cells]) + " |")
    last, compared = (base or rows[-1]), [row for row in rows[:3] if row is not base]
    against = [
        f"{interval(last.each - row.each, row.patients, signed=True)} against {row.text}" for row in compared
    ]
    first = rows[0]
    recipe = read_recipe(FoldFolder(options.root / "runs" / "seed" / "fold0"))
    lines += [
        "",
        f"All of it together: {'; '.join(against)}, image by image.",
        "",
        f"{len(first.each)} held-out images of {len(set(first.patients))} artificial patients "
        f"({options.folds} of {recipe.fold_count} folds), half of them with a finding that mimics a "
        f"pneumothorax; {options.seen:,} images seen in training; 95 % intervals by drawing patients. By "
        f"`python benchmarks/ablation.py --seen {options.seen} --folds {options.folds} "
        f"--write docs/method.md` on "
        f"{describe_machine('keras')}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
