"""--batch-size auto: the largest power of two that trains on this device, found once.

The trial runs in a process of its own, which leaves the device's memory free again; this one must not have
touched the device before.
"""

import os
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

from pneumothorax import interrupts
from pneumothorax.data.workers import hidden_main, open_pool
from pneumothorax.errors import UserError
from pneumothorax.model.quiet_import import import_quietly
from pneumothorax.recipe import Recipe
from pneumothorax.training.fold_folder import fold_folders, read_recipe

MOST = 256  # images of a step: more fill no device better, and leave few steps an epoch


def find_batch_size(recipe: Recipe, run: Path, images: int, xla: bool = False) -> tuple[int, str]:
    """Return the batch size of a run that the device is to choose, and a line that says why.

    Args:
        recipe: Training configuration; its own batch size is the most on a CPU.
        run: The run's folder. A recipe in it has the batch size already, so that the same command resumes.
        images: How many there are to train on.
        xla: Whether the user asks XLA to compile the steps.

    Raises:
        UserError: Not one image trains on this device, or the trial failed.
    """
    for fold in fold_folders(run):
        if fold.recipe.is_file():
            found = read_recipe(fold).batch_size
            return found, f"batch size {found}, as {fold.recipe} has it"
    by_number = "name a number, such as --batch-size 8"
    with open_pool(1, "spawn", _start, remedy=by_number) as pool:
        try:
            with interrupts.checked_loop(), hidden_main():
                trial = pool.submit(_try_out, recipe, min(MOST, images), xla)
            interrupts.check()
            found, reason = trial.result()
        except KeyboardInterrupt:  # the pool would wait for the trial, which knows nothing of it
            for process in active_children():
                process.terminate()
            raise
        except BrokenProcessPool:
            raise UserError(
                "the trial for --batch-size auto was killed, as it is where the machine's memory is full",
                remedy=f"end other programs, or {by_number}",
            ) from None
    return found, f"batch size {found}: {reason}; the learning rate stays {recipe.learning_rate:g}"


def _start() -> None:
    """Let the process see the one GPU that a fold trains on, import quietly, and end so at Ctrl-C."""
    import_quietly()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]


def _try_out(recipe: Recipe, most: int, xla: bool) -> tuple[int, str]:
    """Return the batch size for this process's device, and why it is that one.

    Raises:
        UserError: Not one image fits.
    """
    from pneumothorax.model import memory
    from pneumothorax.training.hardware import choose_precision

    precision = choose_precision(recipe.precision)
    needed = memory.estimate_training(recipe, precision)
    free = memory.free_memory()
    if free is None:
        own, room = recipe.batch_size, memory.available_memory()
        sizes = [own, *_powers(own - 1)]
        found = next((size for size in sizes if needed.total(size, fused=False) <= room), 0)
        reason = "a larger one brings nothing on a CPU" if found == own else "no more fit in the memory"
    else:
        sizes = [size for size in _powers(most) if needed.total(size) <= free] or [1]
        found = next((size for size in sizes if _trains(replace(recipe, batch_size=size), precision, xla)), 0)
        reason = "the largest power of two that trains on this device"
        if found and 2 * found > most:
            reason = f"as many as {'are tried' if most == MOST else 'there are images for'}"
    if not found:
        raise UserError(
            f"the memory is too small to train on a single image of {recipe.size} pixels",
            remedy="end other programs that use it, or use a smaller --size or --encoder",
        )
    return found, reason


def _powers(most: int) -> list[int]:
    """List the powers of two from the largest that is no larger than `most` down to 1."""
    return [1 << power for power in reversed(range(max(most, 0).bit_length()))]


def _trains(recipe: Recipe, precision: str, xla: bool) -> bool:
    """Take real steps on random images; return whether they fit in the device's memory."""
    import keras
    import numpy as np

    from pneumothorax.model.exhaustion import is_exhaustion
    from pneumothorax.training import hardware
    from pneumothorax.training.compiling import compile_model
    from pneumothorax.training.feed import make_batch

    print(f"trying batch size {recipe.batch_size}", file=sys.stderr, flush=True)
    keras.backend.clear_session()  # frees the network of a larger batch that did not fit
    hardware.begin(recipe, xla)
    shape = (recipe.batch_size, recipe.size, recipe.size, 1)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    masks = (images > 230).astype(np.float32)
    batch = make_batch(recipe, images, masks, np.ones(len(images), bool), epoch=0)
    try:
        model = compile_model(recipe, precision, trained=True, xla=xla)
        for _ in range(recipe.accumulate + 1):
            model.train_on_batch(*batch)
    except Exception as error:
        if not is_exhaustion(error):
            raise
        return False
    return True
