"""Whether XLA compiles the training steps: `train --xla`, the recipe's `deterministic`, and the devices.

The first step on a GPU waits for minutes while XLA compiles it. Knows nothing of networks.
"""

import sys

from pneumothorax.errors import UserError
from pneumothorax.model.devices import count_gpus, on_tensorflow
from pneumothorax.recipe import Recipe

AUTO = "auto"  # the others are 'true' and 'false'


def check_xla(recipe: Recipe, xla: str) -> None:
    """Make sure that training can use XLA, or do without it, as the user chose.

    Args:
        recipe: Training configuration.
        xla: 'auto', 'true' or 'false'.

    Raises:
        UserError: It cannot.
    """
    if not on_tensorflow():
        if xla == "false":
            raise UserError("--xla false with JAX, which computes by XLA alone", remedy="leave --xla out")
    elif xla == "true":
        if recipe.deterministic == "true":
            raise UserError(
                "--xla true with --deterministic true: Keras leaves XLA out where operations are exact",
                remedy="leave one of them out",
            )
        if (gpus := count_gpus()) > 1:
            raise UserError(
                f"--xla true for one fold on {gpus} GPUs",
                "one GPU for each fold",
                "name one with --devices, or leave --xla out",
            )


def uses_xla(recipe: Recipe, xla: str = AUTO) -> bool:
    """Return whether XLA compiles the training steps.

    'auto' is for one GPU: on a CPU XLA is several times slower, and with several GPUs the strategy does the
    work.

    Args:
        recipe: Training configuration.
        xla: 'auto', 'true' or 'false', as `check_xla` accepts it.
    """
    if not on_tensorflow():
        return True
    if xla != AUTO:
        return xla == "true"
    return count_gpus() == 1 and recipe.deterministic != "true"


def announce(first: str) -> None:
    """Say on stderr, where there is a GPU, that XLA is about to compile for it.

    Args:
        first: Its place in the work that waits for it, such as 'step'.
    """
    if count_gpus():
        text = f"compiling for the GPU with XLA; the first {first} may take several minutes"
        print(text, file=sys.stderr, flush=True)
