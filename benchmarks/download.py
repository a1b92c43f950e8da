"""`download` against Kaggle's own client and bare unzipping: the same archive from the same stand-in.

    PYTHONPATH=. python benchmarks/download.py

Both sides get 400 MB of incompressible files in the competition's layout from 127.0.0.1, so that only the
work limits them: ours lists the files, checks names, sizes and checksums, and makes every file appear whole;
the peer downloads by `kaggle competitions download` and unpacks by `python -m zipfile`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kaggle.standin import Competition, StandIn
from tests.kaggle.standin_kit import CLIENT, KIT, Program

from timing import describe_machine, interleave, print_ratio

SLUG = "siim-acr-pneumothorax-segmentation"
IMAGES, IMAGE_BYTES, ROUNDS = 3205, 125_000, 5


def main() -> None:
    names = [f"ID_{number:09x}" for number in range(IMAGES)]
    files = {f"stage_2_images/{name}.dcm": os.urandom(IMAGE_BYTES) for name in names}
    sample = "".join(f"{name},-1\n" for name in names)
    files["stage_2_sample_submission.csv"] = f"ImageId,EncodedPixels\n{sample}".encode()
    with tempfile.TemporaryDirectory() as folder, StandIn() as standin:
        work, home = Path(folder, "work"), Path(folder, "home")
        work.mkdir()
        home.mkdir()
        standin.competitions[SLUG] = Competition(files=files)
        ours, peer = (Program(start, standin, work, home) for start in (KIT, CLIENT))

        def download() -> None:
            shutil.rmtree(work / "data", ignore_errors=True)
            assert ours("download", "--source", "none", timeout=600).code == 0

        def download_bare() -> None:
            shutil.rmtree(work / "peer", ignore_errors=True)
            assert peer("competitions", "download", "-p", "peer", SLUG, timeout=600).code == 0
            archive = work / "peer" / f"{SLUG}.zip"
            subprocess.run(
                [sys.executable, "-m", "zipfile", "-e", archive, work / "peer" / "out"], check=True
            )

        seconds = interleave({"pneumothorax": download, "kaggle + zipfile": download_bare}, ROUNDS)
    print(describe_machine("kaggle"))
    size = sum(map(len, files.values())) / 1e6
    for name, value in seconds.items():
        print(f"{name:<20} {value:6.2f} s   {size / value:6.0f} MB/s")
    ratio = seconds["kaggle + zipfile"] / seconds["pneumothorax"]
    print_ratio("download, check and unpack, against the bare client", ratio, ">= 0.4")


if __name__ == "__main__":
    main()
