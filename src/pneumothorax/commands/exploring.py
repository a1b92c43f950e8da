"""The command that shows the data as they are, before anything is trained."""

from argparse import Namespace

from pneumothorax.commands.data import chosen_recipe, prepare_parts
from pneumothorax.training.run import check_exists
from pneumothorax.workspace import Workspace


def explore(options: Namespace) -> int:
    """Prepare the images, unless they are, and write one HTML page on them."""
    workspace = Workspace(options.root)
    run = None if options.run is None else check_exists(workspace.runs / options.run)
    studies, caches = prepare_parts(options)
    from pneumothorax.explore.page import write_data_page

    path = options.out or workspace.figures / "explore.html"
    write_data_page(studies, caches, chosen_recipe(options), path, run)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
