"""Memory of a training step: an estimate, checked by measurements, and its verdict for a 16 GB T4.

    python benchmarks/memory.py [--recipe strong] [--skip-measuring]

The estimate (`pneumothorax.model.memory`) counts the arrays present when the backward pass begins:

- weights, gradients, Adam's two moments, the averaged weights (EMA) and accumulated gradients in float32, and
  under mixed precision the weights' copies in the narrow type;
- each tensor whose values the backward pass needs, once, in its own type: the inputs of convolutions, batch
    normalisations, products and maximum pooling, the outputs of activations and maximum pooling, and the
    intermediate maps of separable convolutions. Sums, joins and enlargements keep nothing of their own;
- the gradients of the one layer with the largest input and output, and the loss's maps in float32.

It does not count workspace: cuDNN may take some hundred MB for a convolution, TensorFlow keeps freed blocks,
and a CUDA context takes about 0.5 GB; the verdict leaves room for them. The column
'unfused' is Keras' own layers: they cast the input of a batch normalisation to float32, and that copy is then
kept in place of the narrow one. Several GPUs that share a batch get these.

The check: the peak resident memory of a process that takes two steps, less its memory before it built the
network. A constant part of that is TensorFlow's graph and threads; the growth from batch 4 to batch 8 is free
of it and is the memory of the activations. The kit's layers (`model/fast.py`) and those of plain Keras
are both measured; the largest growth over the estimate's is the factor by which the table
multiplies everything that grows with the batch.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

from pneumothorax.model import unet
from pneumothorax.model.memory import estimate_training
from pneumothorax.recipe import Recipe
from pneumothorax.recipes import find_recipe
from pneumothorax.training import compiling, optimizer
from timing import describe_machine, print_ratio

GB = 1024**3
T4 = 14.5  # GB of 1024**3 bytes: the 15,360 MiB that the driver reports, less a CUDA context
WORKSPACE = 1.0  # GB kept free for cuDNN's workspace and the allocator's fragments
# Size, precision, and layers: the kit's layers, or plain Keras' for the column 'unfused'.
CHECKS = (
    (128, "float32", "fast"),
    (256, "float32", "fast"),
    (256, "float32", "plain"),
    (256, "mixed_bfloat16", "plain"),
)


def measure(recipe: Recipe, batch: int, precision: str, side: str) -> None:
    """Take two steps, and print the growth of this process's peak memory in bytes."""
    if side == "plain":
        unet.on_one_device = optimizer.on_one_device = lambda: False
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch, recipe.size, recipe.size, 1), dtype=np.uint8)
    masks = (generator.random(images.shape) < 0.1).astype(np.float32)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    model = compiling.compile_model(recipe, precision)
    truth = {"probability": masks, "classification": masks.max(axis=(1, 2))}
    for _ in range(2):
        model.train_on_batch(images, truth if isinstance(model.output, dict) else masks)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def compare(recipe_name: str) -> float:
    """Print estimates next to measurements; return the largest ratio for four more images."""
    ratios = []
    print(f"\n{'on this CPU':<44} {'measured':>9} {'estimate':>9} {'ratio':>6}")
    for size, precision, side in CHECKS:
        recipe = find_recipe(recipe_name, size=size, encoder_weights="none", legs="")
        memory, fused = estimate_training(recipe, precision), precision == "float32"
        name, measured = f"{size} px, {precision}, {side}", {}
        for batch in (4, 8):
            words = f"{size},{batch},{precision},{side}"
            command = [sys.executable, __file__, "--recipe", recipe_name, "--measure", words]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            measured[batch] = int(output.splitlines()[-1])
            print_row(f"{name}, batch {batch}", measured[batch], memory.total(batch, fused=fused))
        grown = measured[8] - measured[4]
        expected = memory.total(8, fused=fused) - memory.total(4, fused=fused)
        print_row(f"{name}, 4 more images", grown, expected)
        ratios.append(grown / expected)
    return max(ratios)


def print_row(name: str, measured: float, estimated: float) -> None:
    print(f"{name:<44} {measured / GB:>6.2f} GB {estimated / GB:>6.2f} GB {measured / estimated:>6.2f}")


def print_parts(recipe: Recipe, batch: int, precision: str) -> None:
    memory = estimate_training(recipe, precision)
    print(f"\n{recipe.name} at {recipe.size} px, batch {batch}, {precision}")
    for name, count in (
        ("weights, float32", memory.weights),
        ("gradients, Adam, EMA, accumulation, copies", memory.copies - memory.weights),
        ("activations, gradients, maps", batch * memory.image),
        ("the same, unfused", batch * memory.image_unfused),
    ):
        print(f"  {name:<44} {count / GB:>6.2f} GB")


def print_table(recipe_name: str, factor: float, precision: str) -> None:
    print(f"\n{precision}, growth x {factor:.2f} (unfused)   of the {T4} GB of a T4, {WORKSPACE} GB left")
    for size in (256, 512, 768):
        recipe = find_recipe(recipe_name, size=size, encoder_weights="none", legs="")
        memory = estimate_training(recipe, precision)
        for batch in (4, 8, 16):
            fused, unfused = (memory.total(batch, factor, fused=way) / GB for way in (True, False))
            room = T4 - WORKSPACE
            verdict = "fits" if unfused < room else "fits if XLA fuses" if fused < room else "does not fit"
            print(f"{size} px, batch {batch:>2}   {fused:>6.1f} GB ({unfused:>5.1f} GB)   {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="strong")
    parser.add_argument("--skip-measuring", action="store_true", help="print the estimates alone")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        size, batch, precision, side = options.measure.split(",")
        recipe = find_recipe(options.recipe, size=int(size), encoder_weights="none", legs="")
        measure(recipe, int(batch), precision, side)
        return
    print(describe_machine("keras", "segmentation-models"))
    factor = 1.0 if options.skip_measuring else compare(options.recipe)
    recipe = find_recipe(options.recipe, size=512, encoder_weights="none", legs="")
    print_parts(recipe, 16, "mixed_float16")
    print_table(options.recipe, max(1.0, factor), "mixed_float16")
    needed = estimate_training(recipe, "mixed_float16").total(16, max(1.0, factor), fused=False) / GB
    print()
    print_ratio("512 px, batch 16, mixed_float16, unfused: GB", needed, f"below {T4 - WORKSPACE}")


if __name__ == "__main__":
    main()
