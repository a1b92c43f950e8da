"""The fold's folder says which weights its encoder began with, and a resume does not care."""

import time
from dataclasses import replace

import h5py
import pytest

from pneumothorax.data.folds import divide
from pneumothorax.model.encoders.weights import NOTE, read_note
from pneumothorax.training.fit import fit_fold
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.timing import Clock

# The small network takes no weights of an encoder.
pytestmark = [pytest.mark.usefixtures("small_network", "eagerly"), pytest.mark.slow]


def test_the_note_is_written_once_and_has_no_part_in_a_resume(discs, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Clock, "seconds", lambda self: 1e6
    )  # so that no second epoch fits before the deadline
    path = tmp_path / "weights" / "model.weights.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = [1.0]
    recipe = replace(tiny, epochs=2, encoder_weights=str(path.parent))
    fold, split = FoldFolder(tmp_path / "runs" / "a" / "fold0"), divide(discs.studies, recipe, 0)
    assert not fit_fold(recipe, discs, split, fold, deadline=time.monotonic() + 3600)
    note = read_note(fold.path)
    assert (note["source"], note["file"], note["arrays"]) == ("file", path.name, 1)
    path.unlink()  # a resume needs it no more
    (fold.path / NOTE).unlink()
    assert fit_fold(recipe, discs, split, fold)
    assert read_note(fold.path) == {}


def test_random_weights_leave_no_note(discs, tiny, tmp_path):
    fold = FoldFolder(tmp_path / "runs" / "a" / "fold0")
    recipe = replace(tiny, epochs=1)
    assert fit_fold(recipe, discs, divide(discs.studies, recipe, 0), fold)
    assert not (fold.path / NOTE).exists()
