"""Whether XLA compiles TensorFlow's steps: `train --xla`, the recipe's `deterministic`, and the devices.

It is off unless the user asks for it: on a GPU the first step then waits for minutes, and the fused kernels
of `model/fast.py` do without it (docs/kaggle.md has figures). JAX always computes by XLA. Knows nothing of
networks.
"""

import sys

from pneumothorax.errors import UserError
from pneumothorax.model.devices import count_gpus, on_tensorflow
from pneumothorax.recipe import Recipe


def check_xla(recipe: Recipe, xla: bool) -> None:
    """Make sure that training can use XLA if the user asks for it.

    Args:
        recipe: Training configuration.
        xla: Whether the user does.

    Raises:
        UserError: It cannot.
    """
    if not xla or not on_tensorflow():
        return
    if recipe.deterministic == "true":
        raise UserError(
            "--xla with --deterministic true: Keras leaves XLA out where operations are exact",
            remedy="leave one of them out",
        )
    if (gpus := count_gpus()) > 1:
        raise UserError(
            f"--xla for one fold on {gpus} GPUs",
            "one GPU for each fold",
            "name one with --devices, or leave --xla out",
        )


def uses_xla(xla: bool) -> bool:
    """Return whether XLA compiles the steps: where the user asks for it, and under JAX."""
    return xla or not on_tensorflow()


def announce(first: str) -> None:
    """Say on stderr, where there is a GPU, that XLA is about to compile for it.

    Args:
        first: Its place in the work that waits for it, such as 'step'.
    """
    if count_gpus():
        text = f"compiling for the GPU with XLA; the first {first} may take several minutes"
        print(text, file=sys.stderr, flush=True)
