"""A written folder -> a new model of Hugging Face, or a new commit of one; a repeated command resumes."""

from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.hubs.huggingface import Connection
from pneumothorax.hubs.manifest import NAME, Manifest, is_published
from pneumothorax.publishing.about import About

KEPT = {".gitattributes", "LICENSE"}  # files of the hub, or of a person, that stay


class HuggingFace:
    """A signed-in user's models.

    Args:
        connection: Connection to Hugging Face.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._user = connection.sign_in()

    @property
    def user(self) -> str:
        """The name of the user."""
        return self._user

    def check(self, about: About) -> None:
        """Refuse a model that holds something else; see `upload.Hub`."""
        name = about.reference.name
        _, files = self._connection.list_files(name) or ("", {})
        others = sorted(set(files) - KEPT - {"README.md"})
        if others and NAME not in files:
            raise UserError(
                f"the model {name} holds other files ({', '.join(others[:3])})",
                "a model of `pneumothorax publish`, or a free name",
                "choose another --name",
            )

    def publish(self, folder: Path, manifest: Manifest, about: About) -> str:
        """Upload the files in one commit; see `upload.Hub`."""
        name = about.reference.name
        found = self._connection.list_files(name)
        if found is None:
            self._connection.create(name, private=not about.is_public)
        before, there = found or ("", {})
        wanted = [*manifest.files, NAME]
        gone = [file for file in there if is_published(file) and file not in wanted]
        message = f"Publish {about.title}"
        commit = self._connection.commit(name, folder, wanted, gone, message)
        reference = about.reference.at(commit)
        if commit == before:
            return f"{reference}: has these files already; nothing was uploaded"
        return f"{reference}: {len(wanted)} files"
