"""Starts Python programs in front of the stand-in of Kaggle quickly: forks of one that has their libraries.

Each fork imports the package itself, and `kaggle`, which signs in as it is imported.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests import forks

LIBRARIES = (
    *(*forks.DATA, "jupytext", "kagglesdk.kaggle_client", "kagglesdk.kaggle_env", "requests"),
    *("slugify", "tqdm.auto", "bleach", "dateutil.parser", "dotenv"),
)


class Process(forks.Process):
    """A forked program that has the libraries of Kaggle's client."""

    def __init__(
        self,
        words: list[str],
        cwd: Path,
        environment: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
        libraries: Sequence[str] = LIBRARIES,
    ) -> None:
        super().__init__(words, cwd, environment, stdout, stderr, libraries)
