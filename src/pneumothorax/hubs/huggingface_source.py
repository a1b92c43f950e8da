"""Models of Hugging Face, for reading: files of one commit."""

from collections.abc import Callable
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.hubs.huggingface import Connection
from pneumothorax.hubs.references import Reference


class HuggingFaceSource:
    """Models that the user may see; see `fetching.Source`.

    Args:
        timeout_seconds: See `huggingface.Connection`.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._connection = Connection(timeout_seconds)
        self._sizes: dict[str, int] = {}

    def find_version(self, reference: Reference) -> str:
        """Return the commit that an address means."""
        found = self._connection.list_files(reference.name, reference.version)
        if found is None:
            raise UserError(
                f"no model {reference} on Hugging Face, or none that your token may see",
                "OWNER/NAME, and a branch, tag or commit of it",
            )
        commit, self._sizes = found
        return commit

    def fetch(self, reference: Reference, file: str, folder: Path, admit: Callable[[int], None]) -> None:
        """Download one file."""
        admit(self._sizes.get(file, 0))
        self._connection.fetch(reference.name, reference.version, file, folder)
