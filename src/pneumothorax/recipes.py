"""The named recipes, and recipes of one's own: by name, from a recipe.json, or from JSON text."""

import json
import re
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pneumothorax.errors import UserError, nearest
from pneumothorax.recipe import Recipe, differences
from pneumothorax.recipe_fields import parse_fields
from pneumothorax.workspace import is_name

FILE = "recipe.json"  # of a fold
_FOLD = re.compile("fold[0-9]+")  # no copy such as fold0.bak

# The winners' ideas with the paper's network; docs/method.md has the gain of each.
# `make train RECIPE=strong` trains five folds, 40 epochs at 256 pixels and 15 at 512.
_STRONG = Recipe(
    name="strong",
    size=256,
    interpolation="area",
    positives_only=False,
    split="folds",
    positive_rate=0.8,
    positive_rate_end=0.25,
    flip=True,
    rotation_degrees=10.0,
    shift=0.06,
    zoom=0.1,
    brightness=0.1,
    contrast=0.2,
    gamma=0.25,
    elastic=0.02,
    geometry_share=0.5,
    tone_share=0.3,
    classification_head=True,
    prior=0.01,
    batch_norm_momentum=0.9,
    flip_tta=True,
    loss="bce + log_dice + 0.1 * classification",
    learning_rate=3e-4,
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=1.0,
    monitor="gain",
    epochs=40,
    legs="size=512, epochs=15, positive_rate=0.6, learning_rate=2e-4",
)

RECIPES = {
    # The paper, exactly: total Dice 37.85 %, mean Dice 30.03 % on positives at 128 pixels.
    # `pneumothorax train --recipe seed`; 1,802 images an epoch, about 100 seconds of one on two CPU cores.
    "seed": Recipe(),
    "strong": _STRONG,
    # A small encoder for a machine without a GPU. `make train RECIPE=lite ARGS="--fold 0"`: 36 minutes on two
    # CPU cores for 2,564 real images; metric .860, all-empty .827 (by another model's masks).
    "lite": replace(
        _STRONG,
        name="lite",
        encoder="efficientnetlite0",
        size=128,
        epochs=8,
        legs="size=256, epochs=12, positive_rate=0.6, learning_rate=2e-4",
    ),
    # Proves the road, not the method: positives and negatives at 64 pixels, from random weights.
    # `make demo`; about two minutes on two cores; competition metric .89 where all-empty scores .78.
    "smoke": Recipe(
        name="smoke",
        size=64,
        interpolation="area",
        positives_only=False,
        split="folds",
        flip=True,
        rotation_degrees=5.0,
        shift=0.05,
        encoder="resnet18",
        encoder_weights="none",
        decoder_filters=(128, 64, 32, 16, 16),
        prior=0.01,
        batch_norm_momentum=0.9,
        flip_tta=True,
        learning_rate=1e-3,
        monitor="gain",
        epochs=18,
        plateau_patience=3,
    ),
}


def find_recipe(text: str, **overrides: Any) -> Recipe:
    """Return a recipe with some fields replaced.

    Args:
        text: Name of a recipe; path of a recipe.json, or of the folder of a fold or run that has one; or JSON
            text, as a pushed notebook carries it. Of a file or text, missing fields take the defaults of
            `Recipe`; the name is its field `name`, or else the file's stem.
        **overrides: Values of fields in place of the recipe's.

    Raises:
        UserError: There is no such recipe, the file is not one, or a value is wrong.
    """
    if text in RECIPES:
        recipe = RECIPES[text]
    elif text.lstrip().startswith("{"):
        recipe = _read(text, "the recipe's JSON text", None)
    else:
        recipe = _read_file(text)
    return replace(recipe, **overrides)


def portable(text: str) -> str:
    """Return a text by which `find_recipe` finds the same recipe on any machine: a name, or JSON text.

    Raises:
        UserError: As `find_recipe`.
    """
    if text in RECIPES:
        return text
    recipe, defaults = asdict(find_recipe(text)), asdict(Recipe())
    return json.dumps(
        {name: value for name, value in recipe.items() if name == "name" or value != defaults[name]}
    )


def describe(recipe: Recipe) -> str:
    """Name a recipe in one line: the name it began as, and each field that was changed since."""
    base = RECIPES.get(recipe.name)
    changed = [] if base is None else [part.replace(" -> ", " to ") for part in differences(base, recipe)]
    return recipe.name + (f" ({'; '.join(changed)})" if changed else "")


def _read_file(text: str) -> Recipe:
    """Read the recipe of a file, fold or run."""
    try:
        path = Path(text)
        if not text or not path.exists():
            raise UserError(
                f"no recipe {text!r}",
                f"{', '.join(RECIPES)}, or the path of a {FILE}",
                nearest(text, RECIPES),
            )
        if path.is_dir():
            return _read_folder(path)
        if not path.is_file():
            raise UserError(f"{path} is neither a file nor a folder", f"a {FILE}, or a run's folder")
        return _read(path.read_bytes().decode("utf-8-sig"), str(path), path.stem)
    except UnicodeDecodeError as error:
        raise UserError(f"{text} is not text in UTF-8 ({error})", f"a {FILE}") from None
    except OSError as error:
        raise UserError(f"{text} cannot be read ({error.strerror})", f"a {FILE}, or a run's folder") from None


def _read_folder(folder: Path) -> Recipe:
    """Read the recipe of a fold, or the one of all folds of a run."""
    inside = (path for path in sorted(folder.glob(f"fold*/{FILE}")) if _FOLD.fullmatch(path.parent.name))
    paths = [folder / FILE] if (folder / FILE).exists() else list(inside)
    if not paths:
        raise UserError(f"no {FILE} in {folder}", f"the folder of a trained run or fold, or a {FILE}")
    first, *others = [_read_file(str(path)) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if changed := differences(first, other):
            raise UserError(
                f"{paths[0]} and {path} differ ({'; '.join(changed)})",
                "one recipe in all folds of a run",
                f"name one of them, such as --recipe {paths[0]}",
            )
    return first


def _read(text: str, place: str, stem: str | None) -> Recipe:
    """Read a recipe in which fields may be missing; an error names its place."""
    try:
        values = parse_fields(text, Recipe)
        if stem is None and "name" not in values:
            raise UserError("no field 'name'", "one, after which the run is named")
        recipe = Recipe(**({"name": stem} | values))
        if not (is_name(recipe.name) and recipe.name.isprintable()):
            raise UserError(f"name {recipe.name!r}", "the name of a run, without a path", 'change its "name"')
    except UserError as error:
        raise UserError(f"{place}: {error.found}", error.expected, error.remedy) from None
    return recipe


def _main() -> None:
    """Print the name of a recipe as a word of the shell: the Makefile calls the run of RECIPE=FILE by it."""
    try:
        print(shlex.quote(find_recipe(sys.argv[1]).name))
    except UserError as error:
        sys.exit(f"pneumothorax: error: {error}")


if __name__ == "__main__":
    _main()
