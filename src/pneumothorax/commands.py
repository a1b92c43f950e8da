"""What each command does: finds its inputs in the workspace, calls one stage, says what came of it.

Results go to stdout, progress and warnings to stderr. TensorFlow is imported by `train` and `predict` alone.
"""

import hashlib
import json
import sys
from argparse import Namespace
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from pneumothorax.data import folds, rle
from pneumothorax.data import phantom as artificial
from pneumothorax.data import studies as found
from pneumothorax.data.annotations import read_annotations
from pneumothorax.data.cache import Cache, open_cache
from pneumothorax.data.prepare import prepare as prepare_cache
from pneumothorax.errors import UserError
from pneumothorax.inference import decision as deciding
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.recipe import Recipe, find_recipe
from pneumothorax.submission import table
from pneumothorax.training.run import FoldFolder, find_folds, read_recipe
from pneumothorax.workspace import Workspace, write_text


def phantom(options: Namespace) -> int:
    """Make the artificial competition below ROOT/data."""
    folder = Workspace(options.root).data
    artificial.make_competition(
        folder,
        train=options.train,
        test=options.test,
        seed=options.seed,
        area_scale=options.area_scale,
        workers=options.workers,
    )
    print(f"artificial competition in {folder}; the truth of its test set in {folder / 'truth.csv'}")
    return 0


def prepare(options: Namespace) -> int:
    """Fill the caches of training and test images."""
    workspace, recipe = Workspace(options.root), _recipe(options)
    raw = options.raw or workspace.raw
    studies = found.find_studies(raw, options.annotations)
    print(found.describe(studies))
    if studies.table.empty:
        raise UserError(
            f"no image in {raw} is annotated, or listed in a sample submission",
            "Kaggle's CSV files beside the images",
            "see docs/data.md, or name the annotations with --annotations",
        )
    for part in ("train", "test"):
        rows = studies.table[studies.table["part"] == part]
        if rows.empty:
            _warn(f"no {part} image found; go on without (docs/data.md says where Kaggle has them)")
            continue
        folder = workspace.cache(recipe.size, recipe.interpolation, part)
        cache = _prepare(rows, folder, recipe, options)
        positives = int((cache.studies["area"] > 0).sum())
        with_positives = f", {positives:,} with a pneumothorax" if part == "train" else ""
        print(f"{folder}: {len(cache.studies):,} images{with_positives}")
        if part == "train" and (cache.studies["patient"] == "").any():
            _warn("some images name no patient; each of them counts as a patient of its own in the folds")
    return 0


def train(options: Namespace) -> int:
    """Train folds, then store and score their held-out probabilities."""
    workspace, recipe = Workspace(options.root), _recipe(options)
    run = workspace.runs / (options.run or recipe.name)
    cache = _open_cache(workspace, recipe, "train")
    splits = {number: folds.divide(cache.studies, recipe, number) for number in options.fold}
    if recipe.split == "paper":
        _warn("the paper's split is by image: patients lie on both sides of it")
        positives = int((cache.studies["area"] > 0).sum())
        if positives != sum(folds.PAPER_POSITIVES.values()):
            _warn(f"{positives:,} positives, the paper had 2,379: its stage-1 images and train-rle.csv alone")
    from pneumothorax.training.fit import fit_fold
    from pneumothorax.training.hardware import make_strategy

    for number, split in splits.items():
        fold = FoldFolder(run / f"fold{number}")
        fit_fold(recipe, cache, split, fold, strategy=make_strategy(), tensorboard=options.tensorboard)
        _score_fold(fold, cache, split, recipe)
        print(f"{fold.path}: trained; weights {fold.weights.name}, history {fold.history.name}")
    return 0


def tune(options: Namespace) -> int:
    """Choose the decision on the out-of-fold probabilities of all folds."""
    run = _run_folder(options)
    parts = [read_predictions(fold.out_of_fold) for fold in find_folds(run)]
    decision = deciding.tune(parts)
    deciding.write_decision(run / "decision.json", decision)
    print(
        f"threshold {decision.threshold}, minimum area {decision.min_area} pixels: "
        f"{decision.score:.4f} on the {decision.images} images it was chosen on "
        f"(all-empty {decision.all_empty:.4f})"
    )
    if decision.all_empty == 0:
        _warn("no image without a pneumothorax: the rule cannot have learnt when to leave one empty")
    return 0


def predict(options: Namespace) -> int:
    """Predict a set of images by the mean of a run's folds."""
    workspace, run = Workspace(options.root), _run_folder(options)
    fold_folders = find_folds(run)
    recipe = read_recipe(fold_folders[0])
    if options.images is None:
        name, cache = "test", _open_cache(workspace, recipe, "test")
    else:
        name = _name_of(options.images)
        folder = workspace.cache(recipe.size, recipe.interpolation, name)
        cache = _prepare(found.find_images(options.images), folder, recipe, options)
    from pneumothorax.inference.predict import load_fold, predict_rows

    models = [load_fold(fold) for fold in fold_folders]
    folder = run / "predictions" / name
    predict_rows(models, cache, np.arange(len(cache.studies)), folder, f"predict {name}")
    print(f"{folder}: {len(cache.studies):,} images by {len(models)} fold{'s' * (len(models) > 1)}")
    return 0


def submit(options: Namespace) -> int:
    """Write and validate a submission CSV."""
    workspace, run = Workspace(options.root), _run_folder(options)
    decision = _decision(run, options)
    predictions = read_predictions(run / "predictions" / options.set)
    for path, command in ((predictions.folder / "studies.csv", "predict"), (run / "decision.json", "tune")):
        newer = [fold.path.name for fold in find_folds(run) if path.is_file() and not _is_newer(path, fold)]
        if newer:
            _warn(f"{path} is older than {', '.join(newer)}; run `pneumothorax {command}` again")
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = options.out or workspace.submissions / f"{time}-{run.name}.csv"
    rows = deciding.encode_all(predictions, decision)
    table.write_submission(out, rows, _sample(options))
    empty = sum(code == rle.EMPTY for code in read_annotations(out)["EncodedPixels"])
    print(
        f"{out}: {len(predictions.studies):,} rows, valid, {empty:,} empty "
        f"(threshold {decision.threshold}, minimum area {decision.min_area} pixels)"
    )
    return 0


def validate(options: Namespace) -> int:
    """Check a submission CSV."""
    rows = table.validate(options.file, _sample(options))
    print(f"{options.file}: {rows:,} rows, valid")
    return 0


def score(options: Namespace) -> int:
    """Score a submission CSV."""
    result = table.score(options.file, options.truth)
    if options.json:
        print(json.dumps(asdict(result)))
        return 0
    if lacking := read_annotations(options.truth)["ImageId"].nunique() - result.images:
        _warn(f"{lacking:,} images of {options.truth} are not in {options.file} and were not scored")
    all_empty = 1 - result.positives / result.images
    print(
        f"mean Dice {result.mean_dice:.4f} over {result.images:,} images (all-empty scores {all_empty:.4f})"
    )
    for kind, number, value in (
        ("positive", result.positives, result.dice_positive),
        ("negative", result.images - result.positives, result.dice_negative),
    ):
        if value is not None:
            print(f"  {value:.4f} on {number:,} {kind} ones")
    return 0


def figures(options: Namespace) -> int:
    """Draw a run's figures from what its folds left."""
    from pneumothorax.report.run_figures import draw_run

    for path in draw_run(_run_folder(options)):
        print(path)
    return 0


def _recipe(options: Namespace) -> Recipe:
    """Return the named recipe with the flags that were given."""
    given = {part.name: getattr(options, part.name) for part in fields(Recipe) if part.name in options}
    return find_recipe(options.recipe, **given)


def _run_folder(options: Namespace) -> Path:
    return Workspace(options.root).runs / (options.run or "seed")


def _name_of(images: Path) -> str:
    """Name the cache and the predictions of a folder of images; two folders never share a name."""
    path = images.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _decision(run: Path, options: Namespace) -> deciding.Decision:
    """Return the run's tuned decision with the flags that were given."""
    names = ("threshold", "min_area")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    path = run / "decision.json"
    if not path.is_file() and len(given) < len(names):
        _warn(f"no {path}; the rule is not tuned: run `pneumothorax tune --run {run.name}` for a better one")
    return replace(deciding.read_decision(path), **given)


def _prepare(rows: pd.DataFrame, folder: Path, recipe: Recipe, options: Namespace) -> Cache:
    return prepare_cache(
        rows, folder, recipe.size, recipe.interpolation, workers=options.workers, skip_bad=options.skip_bad
    )


def _open_cache(workspace: Workspace, recipe: Recipe, part: str) -> Cache:
    """Open a cache, or say with which flags to make it."""
    folder = workspace.cache(recipe.size, recipe.interpolation, part)
    if not folder.is_dir():
        flags = f"--recipe {recipe.name} --size {recipe.size} --interpolation {recipe.interpolation}"
        raise UserError(
            f"no prepared {part} images in {folder}",
            "the output of `prepare`",
            f"run `pneumothorax prepare {flags}`",
        )
    return open_cache(folder)


def _score_fold(fold: FoldFolder, cache: Cache, split: folds.Split, recipe: Recipe) -> None:
    """Store a fold's held-out probabilities, and print the paper's table for them."""
    from pneumothorax.inference.evaluate import evaluate, table_1
    from pneumothorax.inference.predict import load_fold, predict_rows

    parts = {"out_of_fold": (fold.out_of_fold, split.out_of_fold), "test": (fold.test, split.test)}
    model = None
    scored = {}
    for name, (folder, rows) in parts.items():
        if not len(rows):
            continue
        if _is_newer(folder / "studies.csv", fold):
            predictions: Predictions = read_predictions(folder)
            if not np.array_equal(predictions.studies["ImageId"], cache.studies["ImageId"].iloc[rows]):
                raise UserError(
                    f"{folder} holds other images than {cache.folder} of today",
                    "the images that the fold was trained with",
                    "prepare those again, or choose another --run",
                )
        else:
            model = model or load_fold(fold)
            predictions = predict_rows([model], cache, rows, folder, name.replace("_", "-"))
        scored[name] = evaluate(predictions, cache.masks[rows], recipe.smooth)
    write_text(
        fold.scores, json.dumps({name: asdict(part) for name, part in scored.items()}, indent=2) + "\n"
    )
    if "test" in scored:
        print(table_1(scored["test"], "test part"))
    else:
        print(table_1(scored["out_of_fold"], "held-out fold (its best epoch was picked on it)"))


def _is_newer(path: Path, fold: FoldFolder) -> bool:
    """Tell whether a file is there and newer than a fold's weights."""
    return path.is_file() and path.stat().st_mtime_ns > fold.weights.stat().st_mtime_ns


def _sample(options: Namespace) -> Path:
    """Find the sample submission."""
    sample: Path | None = options.sample or found.find_sample(Workspace(options.root).raw)
    if sample is None or not sample.is_file():
        raise UserError(
            f"no sample submission ({sample or Workspace(options.root).raw})",
            "stage_2_sample_submission.csv below ROOT/data/raw",
            "see docs/data.md, or name it with --sample",
        )
    return sample


def _warn(text: str) -> None:
    print(f"pneumothorax: warning: {text}", file=sys.stderr)
