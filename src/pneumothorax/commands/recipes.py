"""Commands on recipes: show the augmentation of one."""

from argparse import Namespace

import numpy as np

from pneumothorax.commands.data import chosen_recipe, open_prepared
from pneumothorax.data.batches import gather
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.errors import UserError
from pneumothorax.workspace import Workspace

DRAWS = 7  # of each study


def augmentations(options: Namespace) -> int:
    """Draw studies as the recipe shows them to the network."""
    workspace, recipe = Workspace(options.root), chosen_recipe(options)
    if not recipe.augments:
        raise UserError(
            f"recipe {recipe.name!r}, which augments nothing",
            "one that moves images or changes their tone",
            "choose another --recipe, or add a part such as --flip or --rotation-degrees 10",
        )
    cache = open_prepared(workspace, recipe, "train", options.recipe)
    if options.images:
        rows = _find_rows(cache, options.images)
    else:
        rows = pick_rows(cache, options.count, positives_only=recipe.positives_only, seed=recipe.seed)
    from pneumothorax.model.backend import pin_settings
    from pneumothorax.report.augmentations import draw_augmentations
    from pneumothorax.training.augmentation_preview import View, draw_extremes, draw_views

    pin_settings()
    images, masks = gather(cache, rows)
    names = cache.studies["ImageId"].iloc[rows]
    views = draw_views(recipe, images, masks, DRAWS)
    originals = [View(image[..., 0], mask[..., 0]) for image, mask in zip(images, masks, strict=True)]
    path = options.out or workspace.figures / f"augmentations-{recipe.name}.png"
    draw_augmentations(
        recipe,
        dict(zip(names, zip(originals, views, strict=True), strict=True)),
        draw_extremes(recipe, images[0], masks[0]),
        path,
    )
    print(path)
    return 0


def _find_rows(cache: Cache, names: list[str]) -> Rows:
    """Return the rows of images by their ImageId."""
    places = {name: row for row, name in enumerate(cache.studies["ImageId"])}
    for name in names:
        if name not in places:
            raise UserError(f"no image {name!r} in {cache.folder}", "an ImageId of its studies.csv")
    return np.array([places[name] for name in dict.fromkeys(names)])


def pick_rows(cache: Cache, count: int, *, positives_only: bool, seed: int) -> Rows:
    """Pick studies to show: two positives for each negative, as far as there are any."""
    order = np.random.default_rng(seed).permutation(len(cache.studies))
    positive = cache.studies["area"].to_numpy()[order] > 0
    positives, negatives = order[positive], order[~positive][: 0 if positives_only else None]
    wanted = max(count - len(negatives), count - count // 3)
    shown = positives[:wanted]
    return np.concatenate([shown, negatives[: count - len(shown)]])
