"""Kaggle's stand-in with the competition in it, and programs that see it instead of Kaggle."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kaggle.standin import Competition, Dataset, StandIn, zip_of
from tests.kaggle.standin_kit import CLIENT, KIT, Program

COMPETITION = "siim-acr-pneumothorax-segmentation"
TRAINING_SOURCE = "jesperdramsch/siim-acr-pneumothorax-segmentation-data"
# Invented: the rules forbid passing on any image or row of the competition's.
TEST_IDS = ("ID_0000000a1", "ID_0000000b2", "ID_0000000c3")
TRAIN_IDS = ("1.2.276.0.7230010.3.1.4.1.1.1", "1.2.276.0.7230010.3.1.4.1.1.2")


def competition_files() -> dict[str, bytes]:
    """Return the files of a competition in the real one's layout; the images are no images."""
    sample = "".join(f"{name},-1\n" for name in TEST_IDS)
    return {
        "download_images.py": b"# helper of the hosts\n",
        "mask_functions.py": b"# helper of the hosts\n",
        **{f"stage_2_images/{name}.dcm": f"image {name}\n".encode() * 40 for name in TEST_IDS},
        "stage_2_sample_submission.csv": f"ImageId,EncodedPixels\n{sample}".encode(),
        "stage_2_train.csv": f"ImageId,EncodedPixels\n{TRAIN_IDS[0]},-1\n{TRAIN_IDS[1]},5 2 1 4\n".encode(),
    }


def training_files() -> dict[str, bytes]:
    """Return the files of the training source: everything is there twice, as in the real one."""
    rows = f"ImageId, EncodedPixels\n{TRAIN_IDS[0]}, -1\n{TRAIN_IDS[1]}, 5 2 1 4\n"
    files = {
        f"dicom-images-train/{name}.study/{name}.series/{name}.dcm": f"image {name}\n".encode() * 40
        for name in TRAIN_IDS
    }
    files["train-rle.csv"] = rows.encode()
    return files | {f"pneumothorax/{name}": content for name, content in files.items()}


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """A Kaggle that has the competition and the training source."""
    with StandIn() as standin:
        standin.competitions[COMPETITION] = Competition(files=dict(competition_files()))
        standin.datasets[TRAINING_SOURCE] = Dataset(zip_of(training_files()), title="SIIM-ACR data")
        yield standin


@pytest.fixture
def kit(standin: StandIn, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Runs `pneumothorax <words>` in `tmp_path`; after the test, no secret may have leaked."""
    program = Program(KIT, standin, tmp_path, tmp_path_factory.mktemp("home"))
    yield program
    program.close()


@pytest.fixture
def client(standin: StandIn, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Runs `kaggle <words>`, the genuine client, in `tmp_path`; after the test, no secret may have leaked."""
    program = Program(CLIENT, standin, tmp_path, tmp_path_factory.mktemp("home"))
    yield program
    program.close()
