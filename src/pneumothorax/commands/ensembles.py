"""The command on several runs: average them into one."""

from argparse import Namespace

from pneumothorax.inference.ensemble import OUT_OF_FOLD, make_ensemble
from pneumothorax.workspace import Workspace


def ensemble(options: Namespace) -> int:
    """Average the probabilities of some runs into a run of its own."""
    run = Workspace(options.root).runs / options.run
    images = make_ensemble(run, options.runs, options.set)
    members = ", ".join(f"{weight:g} x {name}" for name, weight in options.runs.items())
    sets = ", ".join(
        f"{number:,} {'out of fold' if name == OUT_OF_FOLD else f'of {name}'}"
        for name, number in images.items()
    )
    print(f"{run}: mean of {members}; images: {sets}")
    print(f"next: pneumothorax tune --run {run.name}")
    return 0
