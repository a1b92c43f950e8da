from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from tests.data.dicom_files import written

from pneumothorax.data.dicom import Radiograph, read_radiograph


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Radiograph]:
    """Write a data set, or bytes, and read it back; warnings are errors throughout."""

    def write_and_read(
        content: pydicom.Dataset | bytes, name: str = "ID_0.dcm", **options: bool
    ) -> Radiograph:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else written(content, **options))
        return read_radiograph(path)

    return write_and_read
