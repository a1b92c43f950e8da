"""`prepare` against bare libjpeg: decode and resize of the same files in as many processes; and its memory.

    python benchmarks/prepare.py [FOLDER OF DICOM FILES]

Without a folder it draws 400 artificial radiographs. The bare side finds the JPEG in the file, decodes it
with OpenCV (libjpeg-turbo) and resizes it: no DICOM parsing, no checks, no metadata, nothing written.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from pneumothorax.data.prepare import CHUNK, prepare
from pneumothorax.data.studies import find_images
from pneumothorax.phantom import make_competition
from timing import describe_machine, interleave, print_ratio

SIZE, INTERPOLATION, ROUNDS = 128, "bilinear", 5


def decode_bare(paths: list[str]) -> int:
    for path in paths:
        data = Path(path).read_bytes()
        frame = np.frombuffer(data, np.uint8)[data.index(b"\xff\xd8\xff") :]
        image = cv2.imdecode(frame, cv2.IMREAD_GRAYSCALE)
        cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return len(paths)


def run_bare(paths: list[str]) -> None:
    chunks = [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]
    context = get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), context, cv2.setNumThreads, (1,)) as pool:
        assert sum(pool.map(decode_bare, chunks)) == len(paths)


class PeakMemory(threading.Thread):
    """Samples the proportional memory (PSS) of this process and its children."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb, self.running = 0.0, True

    def run(self) -> None:
        """Sample until stopped."""
        while self.running:
            self.peak_mb = max(self.peak_mb, sum(pss_mb(pid) for pid in family(os.getpid())))
            time.sleep(0.05)


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if children.exists() else []
    return [pid, *(member for child in found for member in family(int(child)))]


def pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if len(sys.argv) == 1:
            make_competition(folder, train=390, test=10)
        table = find_images(folder)
        paths = table["path"].tolist()

        def run_ours() -> None:
            shutil.rmtree(Path(scratch, "cache"), ignore_errors=True)
            prepare(table, Path(scratch, "cache", "test"), SIZE, INTERPOLATION)

        memory = PeakMemory()
        memory.start()
        run_ours()
        memory.running = False
        seconds = interleave({"ours": run_ours, "bare": lambda: run_bare(paths)}, ROUNDS)
        print(describe_machine("numpy", "opencv-python-headless", "pydicom"))
        for name, value in seconds.items():
            print(
                f"{name:<5} {len(paths) / value:8.0f} images a second ({len(paths)} images in {value:.2f} s)"
            )
        print_ratio("prepare: bare decode and resize / ours", seconds["bare"] / seconds["ours"], "0.85")
        print_ratio("prepare: peak memory of all processes, in GB", memory.peak_mb / 1024, "below 1")


if __name__ == "__main__":
    main()
