"""Held-out images of a trained fold: their probabilities, stored and scored."""

import json
from dataclasses import asdict

import numpy as np

from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Split
from pneumothorax.errors import UserError
from pneumothorax.inference.evaluate import evaluate, table_1
from pneumothorax.inference.predict import load_folds, predict_rows
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.recipe import Recipe
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import is_newer
from pneumothorax.workspace import write_text


def score_fold(fold: FoldFolder, cache: Cache, split: Split, recipe: Recipe, xla: bool = False) -> None:
    """Store a fold's held-out probabilities and their scores, and print the paper's table for them.

    Args:
        fold: Folder of a trained fold.
        cache: Images of the size that was trained last.
        split: Rows that the fold held out.
        recipe: Of the last leg.
        xla: Whether the user asks for XLA.

    Raises:
        UserError: The fold has no weights, its folder holds probabilities of other images, or the device has
            too little memory.
    """
    if not fold.weights.is_file():
        raise UserError(
            f"no weights {fold.weights}, but the fold has finished",
            "the weights of a trained fold",
            f"copy them again, or delete {fold.path} and train again",
        )
    parts = {"out_of_fold": (fold.out_of_fold, split.out_of_fold), "test": (fold.test, split.test)}
    networks = None
    scored = {}
    for name, (folder, rows) in parts.items():
        if not len(rows):
            continue
        if is_newer(folder / "studies.csv", fold):
            predictions: Predictions = read_predictions(folder)
            if not np.array_equal(predictions.studies["ImageId"], cache.studies["ImageId"].iloc[rows]):
                raise UserError(
                    f"{folder} holds other images than {cache.folder} of today",
                    "the images that the fold was trained with",
                    "prepare those again, or choose another --run",
                )
        else:
            networks = networks or load_folds([fold], xla)
            title = name.replace("_", "-")
            made_of = digest_folds([fold.weights])
            predictions = predict_rows(
                networks, cache, rows, folder, title, flip=recipe.flip_tta, made_of=made_of
            )
        scored[name] = evaluate(predictions, recipe.interpolation, recipe.smooth)
    write_text(
        fold.scores, json.dumps({name: asdict(part) for name, part in scored.items()}, indent=2) + "\n"
    )
    if "test" in scored:
        print(table_1(scored["test"], "test part"))
    else:
        print(table_1(scored["out_of_fold"], "held-out fold (its best epoch was picked on it)"))
