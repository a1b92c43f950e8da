"""An exported ONNX file in onnxruntime against its run in Keras: the same network and images, on this CPU.

    python benchmarks/onnx_speed.py [--size 256] [--encoder efficientnetlite0] [--folds 1] [--rounds 9]

Both compute in float32; Keras also in the recipe's `auto` where that is another precision. The network is
untrained. The images pass in batches, as in `segment`.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pneumothorax.exporting.export import export_run
from pneumothorax.inference.batching import MOST_AT_ONCE
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import read_model_file
from pneumothorax.inference.plan import make_plan
from pneumothorax.inference.predictor import of_file, of_run
from pneumothorax.model.unet import build_model, save_weights
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.training.hardware import choose_precision
from timing import describe_machine, interleave, print_ratio

BATCHES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--encoder", default="efficientnetlite0")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    recipe = replace(
        RECIPES["lite"], size=options.size, encoder=options.encoder, precision="float32", legs=""
    )
    auto = choose_precision("auto", predicts=True)
    with tempfile.TemporaryDirectory() as folder:
        plans = {}
        for name, precision in {"float32": "float32", "auto": "auto"}.items():
            run = Path(folder) / name
            for number in range(options.folds):
                fold = run / f"fold{number}"
                fold.mkdir(parents=True)
                if name == "float32":
                    save_weights(build_model(recipe, trained=True), fold / "best.weights.h5")
                else:
                    (fold / "best.weights.h5").symlink_to(
                        Path(folder) / "float32" / fold.name / "best.weights.h5"
                    )
                (fold / "recipe.json").write_text(to_json(replace(recipe, precision=precision)))
            plans[name] = make_plan(run)
        path = Path(folder) / "run.onnx"
        exported = export_run(plans["float32"], Decision(), "onnx", path)
        networks = {"onnxruntime": of_file(read_model_file(path)), "Keras": of_run(plans["float32"])}
        if auto != "float32":
            networks[f"Keras, {auto}"] = of_run(plans["auto"])
        count = BATCHES * MOST_AT_ONCE
        images = np.random.default_rng(0).integers(0, 256, (count, options.size, options.size), np.uint8)
        views = [(row, {(options.size, recipe.interpolation): image}) for row, image in enumerate(images)]
        loaded = {name: one.load() for name, one in networks.items()}

        def run_side(name: str) -> list:
            return list(loaded[name](iter(views), count))

        maps = {name: np.stack([one for _, one, _ in run_side(name)]).astype(int) for name in networks}
        seconds = interleave({name: partial(run_side, name) for name in networks}, options.rounds)
    print(describe_machine("onnxruntime", "keras", "tensorflow"))
    print(
        f"{options.encoder} at {options.size} px, {options.folds} fold(s) and mirror images, "
        f"{exported.size / 1e6:.0f} MB: "
        + ", ".join(f"{name} {1000 * value / count:.1f} ms an image" for name, value in seconds.items())
    )
    steps = np.abs(maps["onnxruntime"] - maps["Keras"]).max()
    print(f"largest difference of the stored maps, float32: {steps} of 255 steps")
    for name in list(networks)[1:]:
        print_ratio(f"{name} / onnxruntime", seconds[name] / seconds["onnxruntime"], "1.0")


if __name__ == "__main__":
    main()
