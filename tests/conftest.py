"""What several test folders share."""

from pathlib import Path

import pytest

from pneumothorax.data.phantom import make_competition


@pytest.fixture(scope="session")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/ and truth.csv of a small artificial competition; only to be read, or copied."""
    folder = tmp_path_factory.mktemp("competition")
    make_competition(folder, train=27, test=9, workers=1)
    return folder
