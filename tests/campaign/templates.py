"""Workspaces as they are before a command: made once for all parts, copied for each case."""

import shutil
from pathlib import Path

import cv2
import numpy as np
from tests.campaign import forks
from tests.training.conftest import _build_small, _make_discs

from pneumothorax.commands import exporting, runs, segmenting, submissions  # noqa: F401  for the forks
from pneumothorax.data.cache import Cache
from pneumothorax.inference import fold_networks, held_out, networks, predict  # noqa: F401
from pneumothorax.phantom import make_competition
from pneumothorax.report import run_figures, run_page  # noqa: F401
from pneumothorax.training import compiling, fit, hardware, warm_start  # noqa: F401
from pneumothorax.workspace import locked, replace_folder

SIZE = ("--size=32", "--interpolation=bilinear")
RECIPE = (
    *("--recipe=smoke", *SIZE, "--split=folds", "--fold-count=2", "--no-positives-only", "--epochs=3"),
    *("--encoder=mobilenetv2", "--encoder-weights=none", "--batch-size=8", "--precision=float32"),
    *("--decoder-filters=8,8,8,8,8", "--run=tiny"),
)
PREPARE = ("prepare", "--recipe=smoke", *SIZE)
IMAGES, TEST_IMAGES = 24, 13
PART = "data/cache/32-bilinear"


def put_small_network() -> None:
    """Put a few layers in the U-Net's place, as the fixtures of the suite do."""
    compiling.build_model = warm_start.build_model = fold_networks.build_model = _build_small


def make_templates(folder: Path) -> Path:
    """Make all templates, unless an earlier call has; returns their folder.

    ``discs`` has prepared discs; ``trained`` besides a run of two folds, tuned and predicted; ``raw`` a
    competition, and ``prepared`` the cache of an older state of it.
    """
    put_small_network()
    templates = folder / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "another process makes the templates"):
        if not templates.is_dir():
            with replace_folder(templates) as build:
                for number, (part, count) in enumerate({"train": IMAGES, "test": TEST_IMAGES}.items()):
                    cache = _make_discs(build / "discs" / PART / part, count, seed=number)
                    _make_pictures(cache, build / "pictures" / part, templates / "pictures" / part)
                _make_raw(build)
                _make_trained(build)
    return templates


def _make_pictures(cache: Cache, folder: Path, last: Path) -> None:
    """Make a radiograph at full size of each cached image, where the table says that it will be."""
    folder.mkdir(parents=True)
    paths = []
    for name, image in zip(cache.studies["ImageId"], cache.images, strict=True):
        full = cv2.resize(image, (1024, 1024), interpolation=cv2.INTER_NEAREST)
        (folder / f"{name}.png").write_bytes(cv2.imencode(".png", full)[1].tobytes())
        paths.append(str(last / f"{name}.png"))
    cache.studies.assign(path=paths).to_csv(cache.folder / "studies.csv", index=False)


def _command(root: Path, *words: str) -> None:
    ended = forks.run([*words, f"--root={root}"], root)
    shutil.rmtree(root / ".home", ignore_errors=True)
    if ended.code:
        raise RuntimeError(f"{' '.join(words)}: {ended.shown}")


def _make_trained(build: Path) -> None:
    trained = build / "trained"
    shutil.copytree(build / "discs", trained)
    _command(trained, "train", *RECIPE)
    _command(trained, "tune", "tiny")
    _command(trained, "predict", "tiny")
    shutil.copytree(trained / "runs" / "tiny", trained / "runs" / "other")
    _make_images(trained / "images")
    raw = trained / "data" / "raw"
    raw.mkdir()
    ids = "".join(f"disc{number:02},-1\n" for number in range(TEST_IMAGES))
    (raw / "stage_2_sample_submission.csv").write_text("ImageId,EncodedPixels\n" + ids)


def _make_images(folder: Path) -> None:
    """Make radiographs of one's own: bright discs, as the network knows them."""
    folder.mkdir()
    generator = np.random.default_rng(2)
    for number in range(5):
        height, width = 160 + 8 * number, 200
        image = generator.integers(0, 90, (height, width), dtype=np.uint8)
        cv2.circle(image, (100, 80), 15 + 5 * number, 230, -1)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _make_raw(build: Path) -> None:
    """Make a competition, and a workspace in which it was prepared before it was complete."""
    made, prepared = build / "raw", build / "prepared"
    make_competition(made, train=20, test=4, workers=1)
    raw = prepared / "data" / "raw"
    shutil.copytree(made / "raw", raw)
    late = sorted(raw.rglob("*.dcm"))[::7]
    for path in late:
        path.rename(prepared / path.name)
    _command(prepared, *PREPARE, "--workers=1")
    for path in late:
        (prepared / path.name).rename(path)
