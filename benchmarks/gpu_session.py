"""One run of benchmarks/gpu.py: its options, its deadline, its processes and their environments."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from gpu_bare import find_precision
from gpu_process import Answer, Side, SkippedError
from gpu_table import Results
from pneumothorax.recipes import find_recipe
from timing import describe_machine

HERE = Path(__file__).parent
# The quick ones first.
SIDES = ("torch", "tf", "tf-persistent", "tf-8", "tf-plain", "tf-exact", "torch-compiled", "jax", "tf-xla")
# The rows, and the seconds that must be left for one to begin.
NEEDED = {
    "middle": 40,
    "large": 50,
    "whole": 30,  # it began with the first row, and keeps its finished parts
    "slow": 90,
    "small": 50,
    "caches": 90,
    "eight": 60,
    "best": 60,
    "whole-jax": 80,
}
PERSISTENT = "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT"  # needs no other order of the axes
SPARE = 8.0  # seconds of the budget that are left for ending


class Session:
    """One run of the benchmark: its options, its deadline and its results."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.logs = options.logs or folder
        self.logs.mkdir(parents=True, exist_ok=True)
        self.deadline = time.monotonic() + options.budget - SPARE
        self.running: list[Side] = []
        self.wholes: dict[str, Side] = {}
        about = {
            "machine": describe_machine(),
            "options": {name: str(value) for name, value in vars(options).items()},
        }
        self.results = Results(options.json, about)
        self.counter = self.start("count", "gpu_count.py", "tf", {}, {})
        self.counts: dict[tuple[str, int], Answer] = {}
        self.counted = [
            ("strong", options.sizes[1]),
            ("strong", options.sizes[2]),
            ("seed", options.sizes[0]),
        ]
        for recipe, size in self.counted:
            precision = find_precision(options)
            self.counter.send({"do": "count", "recipe": recipe, "size": size, "precision": precision})

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()

    def start(
        self, name: str, script: str, side: str, values: dict[str, Any], environment: dict[str, str]
    ) -> Side:
        """Start a process of a side's library.

        Args:
            name: Names it, and its log.
            script: Its script.
            side: Begins with the library's name.
            values: Options of the script; those that are None are left out.
            environment: Variables that it needs besides.
        """
        options, python, changes = self.options, sys.executable, []
        if side.startswith("torch"):
            python, changes = options.peer_python, options.peer_env
        elif side.startswith("jax"):
            python, changes = options.jax_python, options.jax_env
        variables = {
            **os.environ,
            "KERAS_BACKEND": "jax" if side.startswith("jax") else "tensorflow",
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0],
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several processes share the card
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_ENABLE_COMPILATION_CACHE": "false",  # but in the row that measures it
            "PYTHONUNBUFFERED": "1",
        }
        if options.device == "cpu":
            variables |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        if side == "tf-persistent":
            variables[PERSISTENT] = "1"
        variables |= environment
        for change in changes:
            variable, _, value = change.partition("=")
            variables.pop(variable, None)
            if value:
                variables[variable] = value
        words = [
            word
            for option, value in values.items()
            if value is not None
            for word in (f"--{option}", str(value))
        ]
        self.running.append(Side(name, [python, str(HERE / script), *words], variables, self.logs))
        return self.running[-1]

    def start_steps(
        self, row: str, side: str, recipe: str, size: int, batch: int, environment: dict[str, str]
    ) -> Side:
        """Start a side that takes training steps."""
        options, known = self.options, find_recipe(recipe)
        peer = {
            "head": known.classification_head,
            "clip": known.clip_norm,
            "smooth": known.smooth,
            "reduction": known.loss_reduction,
            "learning_rate": known.learning_rate,
        }
        values = {
            "side": side,
            "recipe": recipe,
            "peer-recipe": json.dumps(peer),
            "size": size,
            "batch": batch,
            "precision": options.precision,
            "device": options.device,
        }
        return self.start(f"{row} {side}", "gpu_sides.py", side, values, environment)

    def start_whole(self, name: str) -> Side:
        """Start the whole commands under a backend, if they do not run yet; they wait before they compile."""
        if name not in self.wholes:
            options = self.options
            folder, size = self.folder / f"whole-{name}", options.sizes[1]
            values = {"folder": folder, "size": size, "cache": options.cache, "precision": options.precision}
            values |= {key: getattr(options, key) for key in ("batch", "images", "epochs", "steps", "device")}
            self.wholes[name] = self.start(f"whole {name}", "gpu_whole.py", name, values, {})
            self.wholes[name].send({"do": "train"})
        return self.wholes[name]

    def chosen(self, sides: tuple[str, ...]) -> list[str]:
        """Return the sides of a row that the options have."""
        return [side for side in sides if side in self.options.sides]

    def count(self, recipe: str, size: int) -> Answer:
        """Return the counts of `gpu_count.py`, or nothing if they are not there in time."""
        try:
            while (recipe, size) not in self.counts and self.counted:
                answer = self.counter.receive(min(self.left(), 60))
                if answer is None:
                    break
                if answer:  # the first one only says that the process is there
                    self.counts[self.counted.pop(0)] = answer
        except SkippedError as reason:
            self.counted = []
            self.results.skip("limits", "count", str(reason))
        return self.counts.get((recipe, size), {})

    def end(self, sides: list[Side]) -> None:
        """End processes."""
        for side in sides:
            side.end()
            self.running.remove(side)


def add_flag(variable: str, flag: str) -> str:
    """Return an environment variable's flags and one more."""
    return f"{os.environ.get(variable, '')} {flag}".strip()


def parse(description: str) -> argparse.Namespace:
    """Read the command line, and fill in the defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with torch and the peer")
    parser.add_argument("--jax-python", default=sys.executable, help="interpreter with JAX and the package")
    for peer in ("peer", "jax"):
        parser.add_argument(
            f"--{peer}-env",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a variable of its processes; an empty value removes it",
        )
    parser.add_argument("--json", type=Path, help="file for the results, written after each row")
    parser.add_argument("--logs", type=Path, help="folder for the output of the processes")
    parser.add_argument("--budget", type=float, help="seconds for everything; default 450")
    parser.add_argument(
        "--patience",
        type=float,
        help="seconds for a side to import and trace, and again to compile; default 240, of which the quick "
        "sides of the row 'middle' have a half",
    )
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--precision", help="Keras dtype policy; default mixed_float16, float32 on a CPU")
    parser.add_argument(
        "--cache", type=Path, help="prepared images for the rows 'whole'; default random ones"
    )
    parser.add_argument("--rows", nargs="+", choices=NEEDED, default=list(NEEDED), help="in this order")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--sizes", type=int, nargs=3, help="small, middle, large; default 128 256 512")
    parser.add_argument("--batch", type=int, help="images of a step; default 16")
    parser.add_argument("--most", type=int, help="largest batch of the row 'best'; default 256")
    parser.add_argument("--steps", type=int, help="of a burst; default 10")
    parser.add_argument("--rounds", type=int, help="bursts of each side; default 5")
    parser.add_argument("--images", type=int, help="random images of the rows 'whole'; default 2048")
    parser.add_argument("--epochs", type=int, help="of the rows 'whole'; default 3")
    parser.add_argument("--quick", action="store_true", help="try all out: small defaults, much time")
    options = parser.parse_args()
    usual = {"budget": 450, "patience": 240, "sizes": [128, 256, 512], "batch": 16, "most": 256}
    usual |= {"steps": 10, "rounds": 5, "images": 2048, "epochs": 3}
    quick = {"budget": 3600, "patience": 900, "sizes": [32, 64, 96], "batch": 2, "most": 8}
    quick |= {"steps": 1, "rounds": 2, "images": 40, "epochs": 2}
    for name, value in (quick if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options
