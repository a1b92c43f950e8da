"""Kaggle Models, for reading: files of one version."""

from collections.abc import Callable
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.hubs.references import Reference


class KaggleSource:
    """A signed-in user's view of Kaggle Models; see `fetching.Source`.

    Args:
        timeout_seconds: See `kaggle.client.connect`.
        tries: See there.
    """

    def __init__(self, timeout_seconds: float, tries: int) -> None:
        from pneumothorax.kaggle.client import connect

        self._client = connect(timeout_seconds, tries)

    def find_version(self, reference: Reference) -> str:
        """Return the number of the version that an address means."""
        if reference.version:
            return reference.version
        if not (version := self._client.newest_version(reference.name)):
            raise UserError(
                f"no model {reference} on Kaggle, or none that {self._client.user} may see",
                "OWNER/MODEL/FRAMEWORK/VARIATION as in the model's address",
            )
        return str(version)

    def fetch(self, reference: Reference, file: str, folder: Path, admit: Callable[[int], None]) -> None:
        """Download one file."""
        self._client.fetch_model_file(
            reference.name,
            int(reference.version),
            file,
            folder / file,
            lambda size, _: admit(size),
        )
