"""The run that a command names: below ROOT/runs, published on a hub, or a folder anywhere."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from pneumothorax.errors import UserError, warn
from pneumothorax.recipe import Recipe
from pneumothorax.training.run import check_exists
from pneumothorax.workspace import Workspace


def run_folder(options: Namespace) -> Path:
    """Return the folder of the run that the command names, or of a published model, downloaded if need be.

    Raises:
        UserError: It is not there, or cannot be downloaded.
    """
    workspace, named = Workspace(options.root), options.run or "seed"
    if "/" not in named:
        return check_exists(workspace.runs / named)
    from pneumothorax.hubs.fetching import find_run  # notebooks leave it at home

    return find_run(named, workspace)


def with_published_weights(recipe: Recipe, workspace: Workspace) -> Recipe:
    """Download the encoder that a recipe names by the address of a published model.

    Raises:
        UserError: It cannot be downloaded, or this is a notebook.
    """
    if "://" not in (address := recipe.encoder_weights):
        return recipe
    try:
        from pneumothorax.hubs.fetching import fetch_encoder
    except ModuleNotFoundError:  # notebooks leave it at home
        raise UserError(
            f"encoder weights {address} in a notebook",
            "the folder of an attached model",
            "attach the model (Add Input, Models) and name its folder in --encoder-weights",
        ) from None
    path = fetch_encoder(address, workspace)
    warn(
        f"the encoder of {address} may have seen the images that this run holds out; on the data that it was "
        "trained on, held-out scores would be too high"
    )
    return replace(recipe, encoder_weights=str(path))
