"""Upload of a written folder to a hub."""

from pathlib import Path
from typing import Protocol

from pneumothorax.hubs.manifest import Manifest
from pneumothorax.publishing.about import About


class Hub(Protocol):
    """A signed-in user's connection to a hub."""

    @property
    def user(self) -> str:
        """The name of the user."""

    def check(self, about: About) -> None:
        """Refuse, before anything is written, a model that cannot be of the user's.

        Raises:
            UserError: It belongs to somebody else, or holds other files.
        """

    def publish(self, folder: Path, manifest: Manifest, about: About) -> str:
        """Upload the files as a new model, or as a new version of one; return a line that says so.

        Raises:
            UserError: The hub refuses, or the connection is lost: the same command resumes.
        """


def connect(name: str, timeout_seconds: float, tries: int) -> Hub:
    """Sign in to 'kaggle' or 'huggingface'.

    Raises:
        UserError: There is no token, or the hub refuses it or cannot be reached.
    """
    if name == "kaggle":
        from pneumothorax.kaggle.client import connect as connect_to_kaggle
        from pneumothorax.publishing.kaggle import KaggleModels

        return KaggleModels(connect_to_kaggle(timeout_seconds, tries))
    from pneumothorax.hubs.huggingface import Connection
    from pneumothorax.publishing.huggingface import HuggingFace

    return HuggingFace(Connection(timeout_seconds))
