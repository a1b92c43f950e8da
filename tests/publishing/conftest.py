"""Runs to publish, whose networks are built in a moment."""

import shutil

import pytest
from tests.forks import KERAS
from tests.kaggle.conftest import standin  # noqa: F401
from tests.kaggle.standin_fork import LIBRARIES
from tests.kaggle.standin_kit import KIT, Program
from tests.publishing.runs import build_portable, make_published_run

from pneumothorax.cli import main

BUILDER = "pneumothorax.publishing.networks.build_model"


@pytest.fixture
def kit(standin, tmp_path, tmp_path_factory):  # noqa: F811
    """Runs `pneumothorax <words>` in `tmp_path`, with Keras; after the test, no secret may have leaked."""
    program = Program(KIT, standin, tmp_path, tmp_path_factory.mktemp("home"), (*LIBRARIES, *KERAS))
    yield program
    program.close()


@pytest.fixture
def echo(monkeypatch):
    """Let runs of `make_published_run` be published."""
    monkeypatch.setattr(BUILDER, build_portable)


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A workspace with a run `strong` of one fold, and its folders for both hubs."""
    root = tmp_path_factory.mktemp("written")
    make_published_run(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BUILDER, build_portable)
        for hub in ("kaggle", "huggingface"):
            words = ["publish", "strong", "--root", str(root), "--to", hub, "--dry-run", "--no-onnx"]
            assert main(words) == 0
    return root


@pytest.fixture
def published(written, tmp_path):
    """The run below `tmp_path` with its folders, so that publishing it builds no network."""
    shutil.copytree(written / "runs", tmp_path / "runs")
    return tmp_path / "runs" / "strong"


@pytest.fixture
def run(published, echo):
    """The run without its folders."""
    shutil.rmtree(published / "published")
    return published
