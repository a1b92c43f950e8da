"""Two folds side by side, a process on each device, against one after the other on one of the devices.

    python benchmarks/side_by_side.py                    # two processes pinned to a core each
    python benchmarks/side_by_side.py --devices 0,1      # two GPUs

Both sides run whole commands `train`, start and prediction of the held-out fold included, on images of noise;
on the CPU both with one thread a process. Each round takes both, one after the other; the medians count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

IMAGES, SIZE = 400, 64
FLAGS = (
    *("train", "--recipe=smoke", f"--size={SIZE}", "--no-positives-only", "--split=folds", "--fold-count=2"),
    *("--interpolation=bilinear", "--encoder=mobilenetv2", "--encoder-weights=none", "--batch-size=16"),
)
ONE_THREAD = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def make_cache(folder: Path) -> None:
    """Write a cache of noise with bright squares."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 128, (IMAGES, SIZE, SIZE), dtype=np.uint8)
    masks = np.zeros_like(images)
    masks[::2, 16:32, 16:32] = 255
    images[masks > 0] += 100
    code = " ".join(f"{768 if row else 256 * 1024 + 256} 256" for row in range(256))
    positive = np.arange(IMAGES) % 2 == 0
    columns = {
        "ImageId": [f"i{row}" for row in range(IMAGES)],
        "EncodedPixels": np.where(positive, code, "-1"),
        "area": positive * 256 * 256,
        "patient": [f"p{row}" for row in range(IMAGES)],
        "path": "",
    }
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    pd.DataFrame(columns | {"height": 1024, "width": 1024}).to_csv(folder / "studies.csv", index=False)
    (folder / "cache.json").write_text("{}")


def seconds_of(root: Path, epochs: int, devices: str, core: int | None) -> float:
    """Time one command, on one core and in one thread where a core is given."""
    run = f"run{time.monotonic_ns()}"
    words = [*FLAGS, f"--epochs={epochs}", f"--root={root}", f"--run={run}", f"--devices={devices}"]
    environment = os.environ | (dict.fromkeys(ONE_THREAD, "1") if core is not None else {})
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    began = time.perf_counter()
    command = [*pinned, sys.executable, "-m", "pneumothorax.cli", *words]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the seconds of both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", default="cpu,cpu", help="two of them (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of each fold (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args()
    first = options.devices.split(",")[0]
    core = min(os.sched_getaffinity(0)) if first == "cpu" else None
    together, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_cache(root / "data" / "cache" / f"{SIZE}-bilinear" / "train")
        for number in range(options.rounds):
            together.append(seconds_of(root, options.epochs, options.devices, None))
            alone.append(seconds_of(root, options.epochs, first, core))
            load = os.getloadavg()[0]
            print(
                f"round {number + 1}: {together[-1]:.1f} s, {alone[-1]:.1f} s (load {load:.1f})", flush=True
            )
    side, after = statistics.median(together), statistics.median(alone)
    print(f"two folds side by side {side:.1f} s, one after the other {after:.1f} s: {after / side:.2f} times")


if __name__ == "__main__":
    main()
