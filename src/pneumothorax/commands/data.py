"""Commands on the data: make the artificial competition, download the real one, prepare images."""

import shlex
from argparse import Namespace
from dataclasses import fields
from pathlib import Path

import pandas as pd

from pneumothorax.data import studies as found
from pneumothorax.data.cache import Cache, open_cache
from pneumothorax.data.prepare import prepare as prepare_cache
from pneumothorax.errors import UserError, warn
from pneumothorax.flag_types import AUTO
from pneumothorax.kaggle import SOURCES
from pneumothorax.legs import legs_of
from pneumothorax.recipe import Recipe
from pneumothorax.recipes import RECIPES, find_recipe
from pneumothorax.workspace import Workspace


def phantom(options: Namespace) -> int:
    """Make the artificial competition below ROOT/data."""
    from pneumothorax.phantom import make_competition  # notebooks leave it at home

    folder = Workspace(options.root).data
    make_competition(
        folder,
        train=options.train,
        test=options.test,
        seed=options.seed,
        area_scale=options.area_scale,
        hard_share=options.hard_share,
        workers=options.workers,
    )
    print(f"artificial competition in {folder}; the truth of its test set in {folder / 'truth.csv'}")
    return 0


def download(options: Namespace) -> int:
    """Fetch missing files, and count all of them."""
    from pneumothorax.kaggle.download import competition as fetching

    workspace, source = Workspace(options.root), options.source
    fetching.clear_archives(workspace, source)
    if fetching.is_complete(workspace, source):
        print(f"{workspace.raw}: nothing to download; delete a folder in it to fetch that again")
    else:
        from pneumothorax.kaggle.client import connect

        fetching.download(workspace, source, connect(options.timeout, options.tries))
    counts, odd = fetching.check_counts(workspace.raw, with_training=source in SOURCES.values())
    print(found.describe(counts))
    for text in odd:
        warn(f"{text} in {workspace.raw}; see docs/data.md for the contents of Kaggle's sources")
    return 0


def prepare(options: Namespace) -> int:
    """Fill the caches of training and test images."""
    prepare_parts(options)
    return 0


def prepare_parts(options: Namespace) -> tuple[found.Studies, dict[str, Cache]]:
    """Find all studies and fill the caches of training and test images; return both, of the largest size."""
    workspace, recipe = Workspace(options.root), chosen_recipe(options)
    raw = options.raw or workspace.raw
    studies = found.find_studies(raw, options.annotations, skip_bad=options.skip_bad)
    print(found.describe(studies.counts))
    if studies.table.empty:
        raise UserError(
            found.describe_lack(studies, raw, "train"),
            "Kaggle's CSV files beside the images",
            "run `make download`, or name the annotations with --annotations",
        )
    caches: dict[str, Cache] = {}
    for part in ("train", "test"):
        rows = studies.table[studies.table["part"] == part]
        if rows.empty:
            lack = found.describe_lack(studies, raw, part)
            warn(f"no {part} image: {lack}; go on without (`make download` fetches them)")
            continue
        legs = {leg.size: leg for leg in legs_of(recipe)}  # training begins with the smallest
        for leg in list(legs.values())[slice(None) if part == "train" else slice(-1, None)]:
            folder = workspace.cache(leg.size, leg.interpolation, part)
            cache = caches[part] = prepare_rows(rows, folder, leg, options)
            positives = int((cache.studies["area"] > 0).sum())
            with_positives = f", {positives:,} with a pneumothorax" if part == "train" else ""
            print(f"{folder}: {len(cache.studies):,} images{with_positives}")
        if part == "train" and (cache.studies["patient"] == "").any():
            warn("some images name no patient; each of them counts as a patient of its own in the folds")
    return studies, caches


def chosen_recipe(options: Namespace) -> Recipe:
    """Return the recipe of --recipe with the given flags; `train` alone resolves --batch-size auto."""
    given = {part.name: getattr(options, part.name) for part in fields(Recipe) if part.name in options}
    if given.get("batch_size") == AUTO:
        del given["batch_size"]
    return find_recipe(options.recipe, **given)


def prepare_rows(rows: pd.DataFrame, folder: Path, recipe: Recipe, options: Namespace) -> Cache:
    """Prepare rows of studies at the recipe's size, by the flags that were given."""
    return prepare_cache(
        rows, folder, recipe.size, recipe.interpolation, workers=options.workers, skip_bad=options.skip_bad
    )


def open_prepared(workspace: Workspace, recipe: Recipe, part: str, origin: str = "") -> Cache:
    """Open a cache, or say with which flags to make it.

    Args:
        workspace: Folders of the entry.
        recipe: Recipe whose size and interpolation the images have.
        part: 'train', 'test', or the name of a folder of images.
        origin: Value of --recipe; the recipe's name, if that is a named one, where it is empty.
    """
    folder = workspace.cache(recipe.size, recipe.interpolation, part)
    if not folder.is_dir():
        origin = origin or (recipe.name if recipe.name in RECIPES else "")
        flags = f"--recipe {shlex.quote(origin)} " * bool(origin)
        flags += f"--size {recipe.size} --interpolation {recipe.interpolation}"
        raise UserError(
            f"no prepared {part} images in {folder}",
            "the output of `prepare`",
            f"run `pneumothorax prepare {flags}`",
        )
    return open_cache(folder)
