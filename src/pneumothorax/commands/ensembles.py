"""The command on several runs: average them into one."""

from argparse import Namespace

from pneumothorax.errors import UserError
from pneumothorax.inference.ensemble import OUT_OF_FOLD, make_ensemble
from pneumothorax.workspace import Workspace


def ensemble(options: Namespace) -> int:
    """Average the probabilities of some runs into a run of its own."""
    run, weights = Workspace(options.root).runs / options.run, dict(options.runs)
    if not 1 < len(weights) == len(options.runs):
        raise UserError(
            f"a mean of {', '.join(name for name, _ in options.runs)}", "two runs or more, each once"
        )
    images = make_ensemble(run, weights, options.set)
    members = ", ".join(f"{weight:g} x {name}" for name, weight in weights.items())
    sets = ", ".join(
        f"{number:,} {'out of fold' if name == OUT_OF_FOLD else f'of {name}'}"
        for name, number in images.items()
    )
    print(f"{run}: mean of {members}; images: {sets}")
    print(f"next: pneumothorax tune {run.name}")
    return 0
