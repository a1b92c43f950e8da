"""Commands that are killed, and that run out of disk: their workspaces, words, results and readers."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
from tests.campaign import forks
from tests.campaign.contents import Content, read_file, read_tree
from tests.campaign.templates import PART, PREPARE, RECIPE

from pneumothorax.data.cache import open_cache
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import read_decision
from pneumothorax.inference.predictions import read_predictions
from pneumothorax.training.fold_folder import FoldFolder, read_environment, read_recipe
from pneumothorax.training.history import read_history
from pneumothorax.training.run import find_folds
from pneumothorax.training.state import load_state

View = dict[str, object]  # what readers see, by their name; None where it is not there yet


@dataclass(frozen=True)
class Scene:
    """One command.

    Attributes:
        name: Its name.
        template: The workspace before it.
        words: Its words, but for ROOT.
        result: Its results below ROOT.
        look: Returns what the package's readers see in ROOT.
        earlier: Turns a workspace into one that holds results of an earlier command; None where there
            are none to replace.
        grows: Readers whose view may be a beginning of the last one, as a history that grows.
    """

    name: str
    template: str
    words: tuple[str, ...]
    result: str
    look: Callable[[Path], View]
    earlier: Callable[[Path], object] | None = None
    grows: tuple[str, ...] = ()


def build(scene: Scene, templates: Path, root: Path, *, replacing: bool) -> None:
    """Make the workspace of a case, with results of an earlier command in it or without."""
    root.mkdir(parents=True, exist_ok=True)
    for path in (templates / scene.template).iterdir():
        if path.is_dir():
            shutil.copytree(path, root / path.name, symlinks=True)
        else:
            shutil.copy2(path, root / path.name)
    if replacing and scene.earlier is not None:
        scene.earlier(root)
    elif (result := root / scene.result).is_dir():
        shutil.rmtree(result)
    else:
        result.unlink(missing_ok=True)


def outcome(scene: Scene, root: Path) -> Content:
    """Return the content of a command's results."""
    path = root / scene.result
    return read_tree(path) if path.is_dir() else {path.name: read_file(path)} if path.exists() else {}


def tried(read: Callable[[], object]) -> object:
    """Return what a reader sees; None where it refuses in one line."""
    try:
        return read()
    except UserError:
        return None


def _look_at_cache(root: Path) -> View:
    def read(part: str) -> object:
        cache = open_cache(root / PART / part)
        return [cache.images.tobytes(), cache.masks.tobytes(), cache.studies.to_csv()]

    return {part: tried(lambda part=part: read(part)) for part in ("train", "test")}


def _maps(folder: Path) -> object:
    found = read_predictions(folder)
    return [found.probabilities.tobytes(), found.studies.to_csv()]


def _look_at_run(root: Path) -> View:
    run = root / "runs" / "tiny"
    view: View = {"folds": tried(lambda: [fold.path.name for fold in find_folds(run)])}
    fold = FoldFolder(run / "fold0")
    view["recipe"] = tried(lambda: read_recipe(fold).epochs)
    view["environment"] = tried(lambda: sorted(read_environment(fold))) or None
    history = tried(lambda: read_history(fold).drop(columns="seconds").to_dict("records"))
    view["history"] = None if history is None else [str(row) for row in history]
    state = tried(lambda: load_state(fold))
    view["state"] = None if state is None else [str(row | {"seconds": 0}) for row in state.history]
    view["out_of_fold"] = tried(lambda: _maps(fold.out_of_fold))
    view["scores"] = fold.scores.read_text() if fold.scores.is_file() else None
    if fold.weights.is_file():
        with h5py.File(fold.weights) as file:  # whole
            view["weights"] = None if not len(file) else len(file)
    return view


def _look_at_predictions(root: Path) -> View:
    return {"test": tried(lambda: _maps(root / "runs/tiny/predictions/test"))}


def _spoil_predictions(root: Path) -> None:
    folder = root / "runs/tiny/predictions/test"
    path = folder / "probabilities.npy"
    content = bytearray(path.read_bytes())
    content[128:] = bytes(255 - value for value in content[128:])
    path.write_bytes(content)
    (folder / "made_of.json").write_text('{"fold0": "older"}')


def _look_at_decision(root: Path) -> View:
    path = root / "runs/tiny/decision.json"
    if not path.exists():
        return {"decision": None}
    read_decision(path)  # raises where it is damaged
    return {"decision": read_file(path)}


def _spoil_decision(root: Path) -> None:
    path = root / "runs/tiny/decision.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "score": 0.25, "images": 7}))


def _look_at_segments(root: Path) -> View:
    out = root / "out"
    view: View = {"results.json": None, "results.csv": None}
    if (out / "results.json").exists():
        rows = json.loads((out / "results.json").read_text())["images"]
        files = [row[kind] for row in rows for kind in ("mask", "overlay")]
        view["results.json"] = [str(rows), [read_file(out / file) for file in files]]
    if (out / "results.csv").exists():
        with (out / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        files = [row[kind] for row in rows for kind in ("mask", "overlay")]
        view["results.csv"] = [str(rows), [read_file(out / file) for file in files]]
    return view


def _look_at_submission(root: Path) -> View:
    out = root / "submissions" / "tiny.csv"
    record = out.with_suffix(".json")
    csv_text = out.read_text() if out.exists() else None
    return {"csv": csv_text, "record": json.loads(record.read_text()) if record.exists() else None}


def _segment_otherwise(root: Path) -> None:
    """Leave the results of another rule, and pixels of another mask."""
    ended = forks.run([*SEGMENT, "--threshold=0.2", f"--root={root}"], root)
    if ended.code:
        raise RuntimeError(ended.shown)


SEGMENT = ("segment", "images", "--run=tiny", "--out=out")
SCENES = {
    scene.name: scene
    for scene in (
        Scene(
            *("prepare", "prepared", (*PREPARE, "--workers=1"), "data/cache", _look_at_cache),
            earlier=lambda root: None,  # the template's
        ),
        Scene(
            *("prepare-2", "prepared", (*PREPARE, "--workers=2"), "data/cache", _look_at_cache),
            earlier=lambda root: None,
        ),
        Scene(
            *("train", "discs", ("train", *RECIPE, "--fold=0"), "runs", _look_at_run),
            grows=("history", "state"),
        ),
        Scene(
            *("predict", "trained", ("predict", "tiny"), "runs/tiny/predictions", _look_at_predictions),
            earlier=_spoil_predictions,
        ),
        Scene(
            *("tune", "trained", ("tune", "tiny"), "runs/tiny/decision.json", _look_at_decision),
            earlier=_spoil_decision,
        ),
        Scene("segment", "trained", SEGMENT, "out", _look_at_segments, earlier=_segment_otherwise),
        Scene(
            *("write", "trained", ("submit", "tiny", "--write-only", "--out=submissions/tiny.csv")),
            *("submissions", _look_at_submission),
        ),
    )
}
