"""A written folder -> a new Kaggle Model, or a new version of one; a repeated command resumes."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pneumothorax.errors import UserError
from pneumothorax.hubs.manifest import CARD, NAME, Manifest, digest
from pneumothorax.kaggle.errors import RefusedError
from pneumothorax.publishing.about import LICENSES, About
from pneumothorax.workspace import write_text

if TYPE_CHECKING:
    from pneumothorax.kaggle.client import Client

TOKEN_SECONDS = 6 * 24 * 3600  # Kaggle's client takes an upload up again for so long


class KaggleModels:
    """A signed-in user's models.

    Args:
        client: Connection to Kaggle.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    @property
    def user(self) -> str:
        """The name of the user."""
        return self._client.user

    def check(self, about: About) -> None:
        """Refuse a variation that holds something else; see `upload.Hub`."""
        name = about.reference.name
        if version := self._client.newest_version(name):
            files = self._client.model_files(name, version)
            if files and NAME not in files:
                raise UserError(
                    f"the model {name} holds other files ({', '.join(sorted(files)[:3])})",
                    "a model of `pneumothorax publish`, or a free name",
                    "choose another --name",
                )

    def publish(self, folder: Path, manifest: Manifest, about: About) -> str:
        """Upload the files once, and create what is missing; see `upload.Hub`."""
        name = about.reference.name
        journal = Journal(folder.with_name(f"{folder.name}.uploads.json"))
        version = self._client.newest_version(name)
        if version and self._holds(folder, name, version):
            if journal.is_open:  # of a command that was cut off
                self._client.update_card(name, _card(folder))
                journal.clear()
            return f"{about.reference.at(str(version))}: has these files already; nothing was uploaded"
        tokens = {
            file: journal.token(f"{file} {digest(folder / file)}")
            or journal.note(f"{file} {digest(folder / file)}", self._client.upload_model_file(folder / file))
            for file in (*manifest.files, NAME)
        }
        address = self._create(folder, name, version, tokens, about)
        if version:
            self._client.update_card(name, _card(folder))
        journal.clear()
        return f"{about.reference.at(str(version + 1))}: {len(tokens)} files; {address}"

    def _create(self, folder: Path, name: str, version: int, tokens: Mapping[str, str], about: About) -> str:
        from pneumothorax.kaggle.client.models import NewModel

        new = NewModel(about.title[:50], _card(folder), LICENSES[about.license], not about.is_public)
        try:
            if version:
                return self._client.create_version(name, f"run {about.title}", tokens)
            if not self._client.has_model(name):
                self._client.create_model(name, new)
            return self._client.create_variation(name, new, tokens)
        except RefusedError as error:
            if error.status != 403:
                raise
            raise RefusedError(
                403,
                f"Kaggle lets {self.user} create no model {name} (403)",
                "a --name of your own or of an organisation of yours, and a token that may write",
                f"publish as {self.user}/..., or make a token with all permissions",
            ) from error

    def _holds(self, folder: Path, name: str, version: int) -> bool:
        """Return whether a version's list of files is ours; an answer may have been lost."""
        with TemporaryDirectory(prefix="published-") as place:
            path = Path(place, NAME)
            try:
                self._client.fetch_model_file(name, version, NAME, path, lambda size, missing: None)
            except RefusedError as error:
                if error.status in (403, 404):
                    raise UserError(
                        f"version {version} of {name} has no {NAME} that can be read",
                        "a version that Kaggle has unpacked",
                        "try again in some minutes, or choose another --name",
                    ) from error
                raise
            return path.read_bytes() == (folder / NAME).read_bytes()


def _card(folder: Path) -> str:
    return (folder / CARD).read_text(encoding="utf-8")


class Journal:
    """Tokens of files that were uploaded and belong to no version yet, in a file next to the folder.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self._known = {}

    @property
    def is_open(self) -> bool:
        """Whether files were uploaded and the command that did it has not ended."""
        return bool(self._known)

    def token(self, file: str) -> str:
        """Return the token of a file by its digest; '' without one that still holds."""
        token, since = self._known.get(file, ("", 0))
        return str(token) if time.time() - since < TOKEN_SECONDS else ""

    def note(self, file: str, token: str) -> str:
        """Remember a token, and return it."""
        self._known[file] = (token, int(time.time()))
        write_text(self._path, json.dumps(self._known, indent=2) + "\n")
        return token

    def clear(self) -> None:
        """Forget all tokens: the files belong to a version now."""
        self._path.unlink(missing_ok=True)
