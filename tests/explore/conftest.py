"""The browser of these tests, and small radiographs."""

import numpy as np
import pytest
from tests.browser import browser, chromium  # noqa: F401

from pneumothorax.data.cache import shrink
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.data.studies import find_studies


@pytest.fixture(scope="module")
def chests(competition):
    """Radiographs of the artificial competition at 128 pixels, shape (N, 128, 128)."""
    paths = find_studies(competition / "raw").table["path"]
    return np.stack([shrink(read_radiograph(path).pixels, 128, "area") for path in paths])
