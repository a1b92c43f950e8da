"""What is noted of each session of training."""

import json
import os

from pneumothorax.training import sessions
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.sessions import read_sessions, record_session, resumed_epochs

COUNTS = {"machine": "2 x T4", "images": 10, "positives": 3, "patients": 7}


def test_sessions_are_kept_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "find_commit", lambda: "0a1b2c3")
    fold = FoldFolder(tmp_path / "fold0")
    for epoch in (0, 4, 4, 9):
        record_session(fold, epoch, **COUNTS)
    found = read_sessions(fold)
    assert [one.epoch for one in found] == [0, 4, 4, 9]
    assert resumed_epochs(found) == [4, 9]
    assert (found[0].commit, found[0].machine, found[0].patients) == ("0a1b2c3", "2 x T4", 7)
    assert found[0].began.endswith("+00:00")


def test_a_fold_of_an_earlier_version_or_with_a_damaged_file_has_no_sessions(tmp_path):
    fold = FoldFolder(tmp_path)
    assert read_sessions(fold) == []
    (tmp_path / sessions.NAME).write_text('[{"epoch"')
    assert read_sessions(fold) == []
    (tmp_path / sessions.NAME).write_text("[" * 100_000)
    assert read_sessions(fold) == []
    (tmp_path / sessions.NAME).write_text('[{"epoch": 1}]')
    assert read_sessions(fold) == []
    values = {"began": "", "epoch": 1, "commit": "", **COUNTS}
    for odd in ({"epoch": "x"}, {"machine": None}, {"patients": [1]}, {"images": True}):
        (tmp_path / sessions.NAME).write_text(json.dumps([values | odd]))
        assert read_sessions(fold) == []
    (tmp_path / sessions.NAME).unlink()
    os.mkfifo(tmp_path / sessions.NAME)
    assert read_sessions(fold) == []
    assert resumed_epochs([]) == []
