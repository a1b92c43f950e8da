"""A run to publish, whose networks are built in a moment."""

import pytest
from tests.publishing.runs import build_portable, make_published_run


@pytest.fixture
def echo(monkeypatch):
    """Let runs of `make_published_run` be published."""
    monkeypatch.setattr("pneumothorax.publishing.networks.build_model", build_portable)


@pytest.fixture
def run(tmp_path, echo):
    """A run `strong` of one fold below `tmp_path`."""
    return make_published_run(tmp_path)
