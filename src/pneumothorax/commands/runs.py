"""Commands on runs: train, tune, predict, draw. TensorFlow is imported by `train` and `predict` alone."""

import hashlib
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np

from pneumothorax.commands import processes
from pneumothorax.commands.data import chosen_recipe, open_prepared, prepare_rows
from pneumothorax.commands.rules import warn_if_useless
from pneumothorax.commands.run_folders import run_folder, with_published_weights
from pneumothorax.data import folds
from pneumothorax.data import studies as found
from pneumothorax.data.cache import digest_studies
from pneumothorax.errors import UserError, warn
from pneumothorax.flag_types import AUTO
from pneumothorax.inference import decision as deciding
from pneumothorax.inference.classification import Screening, describe
from pneumothorax.inference.ensemble import OUT_OF_FOLD, out_of_fold_parts, read_ensemble, refuse_ensemble
from pneumothorax.inference.parts import part_folder
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.tuning import tune as find_rule
from pneumothorax.legs import last_leg, legs_of
from pneumothorax.training import hosts
from pneumothorax.training.batch_size import find_batch_size
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.host_place import find_place
from pneumothorax.training.provenance import Digests, digest_folds, digest_note
from pneumothorax.training.run import check_run, common_recipe, find_folds
from pneumothorax.training.tracking import Tracking, check_trackers
from pneumothorax.workspace import Workspace


@hosts.together
def train(options: Namespace) -> int:
    """Train folds, then store and score their held-out probabilities."""
    workspace = Workspace(options.root)
    recipe = with_published_weights(chosen_recipe(options), workspace)
    check_trackers(options.track)
    run = workspace.runs / (options.run or recipe.name)
    legs = legs_of(recipe)
    cache, *later = (
        open_prepared(workspace, leg, "train", options.recipe)
        for leg in {leg.size: leg for leg in legs}.values()
    )
    refuse_ensemble(run, "a run of its own", "choose another --run")
    numbers = folds.fold_numbers(recipe) if options.fold is None else options.fold
    splits = {number: folds.divide(cache.studies, recipe, number) for number in numbers}
    if recipe.split == "paper":
        warn("the paper's split is by image: patients lie on both sides of it")
        positives = int((cache.studies["area"] > 0).sum())
        if positives != sum(folds.PAPER_POSITIVES.values()):
            warn(f"{positives:,} positives, the paper had 2,379: its stage-1 images and train-rle.csv alone")
    deadline = None if options.max_hours is None else time.monotonic() + 3600 * options.max_hours
    slots = processes.find_processes(options, len(splits), recipe.precision)
    if getattr(options, "batch_size", None) == AUTO:
        if find_place().count > 1:
            raise UserError("--batch-size auto on several hosts", "a number, the same on every host")
        with processes.seeing(slots):
            options.batch_size, line = find_batch_size(legs[-1], run, len(cache.studies), options.xla)
        recipe = replace(recipe, batch_size=options.batch_size)
        print(line)
    if slots:
        check_run(run, recipe, digest_studies(cache.studies))
        return processes.train_folds(options, list(splits), slots, deadline)
    from pneumothorax.inference.held_out import score_fold
    from pneumothorax.training.fit import fit_fold
    from pneumothorax.training.hardware import make_strategy

    processes.check_gpus()
    for number, split in splits.items():
        fold = FoldFolder(run / f"fold{number}")
        with Tracking(options.track if hosts.is_first() else [], fold) as tracking:
            finished = fit_fold(
                recipe,
                cache,
                split,
                fold,
                later=later,
                strategy=make_strategy(),
                xla=options.xla,
                tracking=tracking,
                deadline=deadline,
            )
            if not finished:
                over = f"--max-hours {options.max_hours:g} are over"
                print(f"{fold.path}: {over}; the same command resumes from here")
                return 0
            if hosts.is_first():
                with hosts.alone():
                    score_fold(fold, (later or [cache])[-1], split, last_leg(recipe), options.xla)
                tracking.finish()
                warn_if_useless([fold])
                print(f"{fold.path}: trained; weights {fold.weights.name}, history {fold.history.name}")
    return 0


def tune(options: Namespace) -> int:
    """Choose the decision on the out-of-fold probabilities of all folds, or of an ensemble."""
    run = run_folder(options)
    parts = out_of_fold_parts(run)
    _check_kinds(parts)
    if read_ensemble(run) is None:
        warn_if_useless(find_folds(run))
    made_of = _made_of(run)
    decision = find_rule(parts)
    deciding.write_decision(run / "decision.json", decision, made_of)
    print(decision.rule)
    plain = decision.without_classification_threshold
    images = (decision.auc, decision.sensitivity, decision.specificity)
    for name, value in (
        (f"out of fold ({decision.images:,} images)", f"{decision.score:.4f}"),
        ("95 % interval, over patients", f"{decision.low:.4f} to {decision.high:.4f}"),
        ("on the images it was chosen on", f"{decision.fitted:.4f}"),
        ("all-empty", f"{decision.all_empty:.4f}"),
        ("the threshold alone", f"{decision.threshold_alone:.4f}"),
        *([] if plain is None else [("without classification threshold", f"{plain:.4f}")]),
        ("a perfect classifier", f"{decision.ceiling:.4f}"),
        ("image by image", describe(Screening(*images))),
    ):
        print(f"  {name:<34} {value}")
    return 0


def predict(options: Namespace) -> int:
    """Predict a set of images by the mean of a run's folds."""
    workspace, run = Workspace(options.root), run_folder(options)
    refuse_ensemble(run, "a trained run", "let each of those predict, and run `pneumothorax ensemble` again")
    fold_folders = find_folds(run)
    recipe = last_leg(common_recipe(fold_folders))
    if not options.rows:  # a process of several leaves that to the one that started it
        warn_if_useless(fold_folders)
    name = "test" if options.images is None else _name_of(options.images)
    if options.images is None or options.rows:  # the process that started this one has prepared them
        cache = open_prepared(workspace, recipe, name)
    else:
        place = workspace.cache(recipe.size, recipe.interpolation, name)
        cache = prepare_rows(
            found.find_images(options.images, skip_bad=options.skip_bad), place, recipe, options
        )
    folder, rows = run / "predictions" / name, np.arange(len(cache.studies))
    made_of = digest_folds(fold.weights for fold in fold_folders)
    if options.rows:
        folder, rows = part_folder(folder, options.rows), rows[slice(*options.rows)]
    if slots := processes.find_processes(options, len(rows)):
        if code := processes.predict_parts(options, folder, slots, cache.studies, recipe.size, made_of):
            return code
    else:
        from pneumothorax.inference.predict import load_folds, predict_rows
        from pneumothorax.training.hardware import share_batches

        processes.check_gpus()
        share_batches()  # before the networks, which are then made for all of JAX's devices
        networks, title = load_folds(fold_folders), f"predict {name}"
        predict_rows(networks, cache, rows, folder, title, flip=recipe.flip_tta, made_of=made_of)
    print(f"{folder}: {len(rows):,} images by {len(fold_folders)} fold{'s' * (len(fold_folders) > 1)}")
    return 0


def figures(options: Namespace) -> int:
    """Draw a run's figures from its folds' files."""
    from pneumothorax.report.run_figures import draw_run

    for path in draw_run(run_folder(options)):
        print(path)
    return 0


def _made_of(run: Path) -> Digests | None:
    """Digest the sources of a run's out-of-fold probabilities; None of an older version's ensemble."""
    if read_ensemble(run) is None:
        return digest_folds(fold.weights for fold in find_folds(run))
    digest = digest_note(run / OUT_OF_FOLD)
    return None if digest is None else {OUT_OF_FOLD: digest}


def _check_kinds(parts: list[Predictions]) -> None:
    """Make sure that there is something to find, and warn of folds that have images of one kind alone."""
    positives = [part.studies["area"].to_numpy() > 0 for part in parts]
    together = np.concatenate(positives)
    if not together.any():
        raise UserError(
            f"no image with a pneumothorax among {len(together):,} out of fold",
            "some, to choose a rule by",
            "prepare annotated images of both kinds and train again",
        )
    if together.all():
        warn("no image without a pneumothorax: the rule cannot have learnt when to leave one empty")
        return
    for kind, lacks in (
        ("with", lambda positive: not positive.any()),
        ("without", lambda positive: positive.all()),
    ):
        if folders := [
            str(part.folder) for part, positive in zip(parts, positives, strict=True) if lacks(positive)
        ]:
            warn(f"no image {kind} a pneumothorax in {', '.join(folders)}: a one-sided share of the score")


def _name_of(images: Path) -> str:
    """Name the cache and the predictions of a folder of images; two folders never share a name."""
    path = images.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
