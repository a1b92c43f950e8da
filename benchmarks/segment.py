"""`segment`, from files to masks, overlays and table, against the network alone.

    python benchmarks/segment.py [--images FOLDER] [--count 200] [--size 128] [--encoder xception]

The network is untrained and sees the images of FOLDER, or of an artificial competition.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pneumothorax.cli import main as command
from pneumothorax.data.cache import shrink
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.inference.fold_networks import load_folds
from pneumothorax.inference.networks import MOST_AT_ONCE
from pneumothorax.inference.predict import see
from pneumothorax.model.unet import build_model
from pneumothorax.phantom import make_competition
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.segmentation.inputs import find_inputs
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.hardware import choose_precision
from timing import describe_machine, print_ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--encoder", default="xception")
    options = parser.parse_args()
    recipe = Recipe(size=options.size, encoder=options.encoder, encoder_weights="none")
    with tempfile.TemporaryDirectory() as folder:
        root, images = Path(folder), options.images
        if images is None:
            make_competition(root / "data", train=options.count, test=0)
            images = root / "data" / "raw"
        chosen = root / "chosen"
        chosen.mkdir()
        for one in find_inputs(images, "none").images[: options.count]:
            (chosen / one.path.name).symlink_to(one.path.absolute())
        fold = root / "runs" / "own" / "fold0"
        fold.mkdir(parents=True)
        model = build_model(recipe, choose_precision(recipe.precision, predicts=True))
        model.save_weights(fold / "best.weights.h5")
        (fold / "recipe.json").write_text(to_json(recipe))
        networks = load_folds([FoldFolder(fold)])
        paths = sorted(chosen.iterdir())
        pixels = [shrink(read_radiograph(path).pixels, options.size, recipe.interpolation) for path in paths]
        stacked = np.stack(pixels)
        see(networks, stacked[:MOST_AT_ONCE], flip=False)
        began = time.perf_counter()
        for at in range(0, len(stacked), MOST_AT_ONCE):
            see(networks, stacked[at : at + MOST_AT_ONCE], flip=False)
        network = time.perf_counter() - began
        few = root / "few"
        few.mkdir()
        for path in paths[: options.count // 5]:
            (few / path.name).symlink_to(path.resolve())
        seconds = []
        for at, source in enumerate((few, few, chosen)):  # once to warm the disk's cache
            words = ["segment", str(source), "--run", "own", "--threshold", "0.5", "--min-area", "0"]
            began = time.perf_counter()
            command([*words, "--root", str(root), "--out", str(root / f"out{at}")])
            seconds.append(time.perf_counter() - began)
        # The time of few images is the start: building the network and its first batch.
        working = (seconds[2] - seconds[1]) / (len(paths) - options.count // 5) * len(paths)
    print(describe_machine("keras", "opencv-python-headless"))
    print(
        f"{len(paths)} images, {options.encoder} at {options.size} px: {len(paths) / working:.1f} images/s, "
        f"the network alone {len(paths) / network:.1f}; the start takes {seconds[2] - working:.1f} s"
    )
    print_ratio("segment / the network alone", working / network, "1.3")
    print(f"share of the time outside the network: {max(0.0, 1 - network / working):.0%}")


if __name__ == "__main__":
    main()
