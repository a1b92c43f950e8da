"""The least work of a training step: operations and bytes, counted from the network's layers.

Operations: two for each multiplication with a weight of convolutions, separable convolutions and dense
layers, in one pass forward and two as long backward. Bytes: each tensor of the estimate in
`pneumothorax.model.memory` is written and read forward, read again backward, and its gradient written and
read; all copies of the weights are read and written once.
"""

import argparse
import os
from collections.abc import Callable

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # counting leaves the device to others

from gpu_process import Answer, keep_stdout, serve

PASSES, TOUCHES = 3, 5  # over the operations of a forward pass, over the bytes of an image's tensors


def count(recipe: str, size: int, precision: str) -> Answer:
    """Count operations and bytes of a training step, and the memory that it takes by the estimate."""
    import keras
    import numpy as np

    from pneumothorax.model import unet
    from pneumothorax.model.memory import estimate_training, list_layers
    from pneumothorax.recipes import find_recipe

    unet.on_one_device = lambda: False  # the counts are of plain Keras' layers
    chosen = find_recipe(recipe, size=size, encoder_weights="none", legs="")
    memory = estimate_training(chosen, precision)
    forward = 0
    for layer in list_layers(unet.build_model(chosen, precision)):
        kernels = [getattr(layer, name, None) for name in ("kernel", "depthwise_kernel", "pointwise_kernel")]
        transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        places = int(np.prod((layer.input if transposed else layer.output).shape[1:-1]))
        forward += sum(2 * int(np.prod(kernel.shape)) * places for kernel in kernels if kernel is not None)
    return {
        "forward_operations": forward,
        "operations_of_image": PASSES * forward,
        "bytes_of_image": TOUCHES * memory.image,
        "bytes_of_step": 2 * memory.copies,
        "memory_of_image": memory.image,
        "memory_of_step": memory.copies,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--began", type=float, help="when the process began; of no use here")
    parser.parse_args()
    keep_stdout()

    def prepare() -> tuple[Answer, dict[str, Callable[..., Answer]]]:
        return {}, {"count": count}

    serve(prepare)


if __name__ == "__main__":
    main()
