"""Workspaces as they are before a command: made once for all parts, copied for each case."""

import gc
import io
import shutil
from importlib import import_module
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from tests.campaign import forks
from tests.training.conftest import _build_small, _make_discs

from pneumothorax.data.cache import Cache
from pneumothorax.inference import fold_networks
from pneumothorax.phantom import make_competition
from pneumothorax.training import compiling, warm_start
from pneumothorax.workspace import locked, replace_folder

# Imported for the forks, which would take longer to import them than to work.
IMPORTED = (
    *("commands.ensembles", "commands.exporting", "commands.reports", "commands.runs"),
    *("commands.segmenting", "commands.submissions", "cli", "closed_pipe", "flags", "parser"),
    *("inference.held_out", "inference.networks", "inference.predict", "report.run_figures"),
    *("report.run_page", "training.fit", "training.hardware"),
)
LIBRARIES = (
    *("sklearn.preprocessing", "rich.progress", "PIL.ImageOps", "PIL.JpegImagePlugin"),
    *("PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.PpmImagePlugin", "pandas.io.formats.csvs"),
    *("encodings.cp437", "encodings.utf_8_sig", "encodings.utf_16_be"),
)

SIZE = ("--size=32", "--interpolation=bilinear")
RECIPE = (
    *("--recipe=smoke", *SIZE, "--split=folds", "--fold-count=2", "--no-positives-only", "--epochs=3"),
    *("--encoder=mobilenetv2", "--encoder-weights=none", "--batch-size=8", "--precision=float32"),
    *("--decoder-filters=8,8,8,8,8", "--run=tiny"),
)
PREPARE = ("prepare", "--recipe=smoke", *SIZE)
IMAGES, TEST_IMAGES = 16, 9
PART = "data/cache/32-bilinear"


def prepare_forks() -> None:
    """Make commands cheap, which changes nothing in the package's own work.

    Libraries are imported, and a few layers stand in the U-Net's place and are computed op by op, as the
    fixtures of the suite do. Workers are forks of one process with the libraries. Figures have no layout,
    for which they are drawn twice; fonts are found, and what libraries look up once is looked up.
    """
    compiling.build_model = warm_start.build_model = fold_networks.build_model = _build_small
    tf.config.run_functions_eagerly(True)
    for name in (*(f"pneumothorax.{name}" for name in IMPORTED), *LIBRARIES):
        import_module(name)
    forkserver.set_forkserver_preload(["pneumothorax.data.prepare"])
    keep_workers()
    # A fork cannot wait for that process, which is no child of its own.
    forkserver._forkserver.ensure_running = lambda: None
    begin = Figure.__init__
    Figure.__init__ = lambda *words, **named: begin(*words, **(named | {"layout": None}))
    for kind in ("svg", "png"):
        figure = Figure()
        figure.subplots().set_yscale("log")
        figure.savefig(io.BytesIO(), format=kind)
    roc_auc_score([0, 1], [0.0, 1.0])
    gc.collect()
    gc.freeze()  # else each fork copies all memory as soon as it collects garbage


def keep_workers() -> None:
    """Start the process that forks workers; again where it ended with a killed command that asked it."""
    resource_tracker.ensure_running()
    forkserver.ForkServer.ensure_running(forkserver._forkserver)


def make_templates(folder: Path) -> Path:
    """Make all templates, unless an earlier call has; returns their folder.

    ``discs`` has prepared discs; ``trained`` besides a run of two folds, tuned and predicted; ``raw`` a
    competition, and ``prepared`` the cache of an older state of it.
    """
    prepare_forks()
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
