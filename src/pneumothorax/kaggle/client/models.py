"""Kaggle Models: state, upload as a new model or version, and download file by file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from kagglesdk.blobs.types import blob_api_service as blobs
from kagglesdk.datasets.types import dataset_api_service as datasets
from kagglesdk.models.types import model_api_service as models
from kagglesdk.models.types.model_enums import ModelFramework

from pneumothorax.kaggle.client.connection import PAGE
from pneumothorax.kaggle.client.files import Files
from pneumothorax.kaggle.client.uploads import Uploads
from pneumothorax.kaggle.errors import RefusedError

Tokens = Mapping[str, str]  # of uploaded files, by their paths in the model


@dataclass(frozen=True)
class NewModel:
    """Texts of a model.

    Attributes:
        title: Its title, 6 to 50 letters.
        card: Its description and usage, in Markdown.
        license: Kaggle's name of a licence.
        is_private: Whether its owner alone sees it.
    """

    title: str
    card: str
    license: str
    is_private: bool


class Models(Uploads, Files):
    """Calls for models; one is named 'owner/model/framework/variation'."""

    def has_model(self, name: str) -> bool:
        """Return whether there is a model 'owner/model/...' that the user may see, with any variation."""
        owner, model = name.split("/")[:2]
        return (
            self._find(f"ask for the model {owner}/{model}", self._api.model_get, f"{owner}/{model}")
            is not None
        )

    def newest_version(self, name: str) -> int:
        """Return the number of a variation's newest version; 0 where there is no such variation."""
        found = self._find(f"ask for the model {name}", self._api.model_instance_get, name)
        return 0 if found is None else int(found.version_number or 0)

    def model_files(self, name: str, version: int) -> dict[str, int]:
        """Return the sizes in bytes of a version's files, by their paths; none while Kaggle unpacks it."""
        files: dict[str, int] = {}
        token = ""
        while True:
            request = models.ApiListModelInstanceVersionFilesRequest()
            _name(request, name)
            request.version_number, request.page_size, request.page_token = version, PAGE, token
            page = self._find(
                f"list the files of {name}", self._call, "list_model_instance_version_files", request
            )
            if page is None:
                return files
            files.update((file.name, file.size) for file in page.files)
            if not page.next_page_token or page.next_page_token == token:
                return files
            token = page.next_page_token

    def upload_model_file(self, path: Path) -> str:
        """Upload a file of a model without creating one; returns its token for `save_model`."""
        request = blobs.ApiStartBlobUploadRequest()
        request.type, request.name = blobs.ApiBlobType.MODEL, path.name
        request.content_length = path.stat().st_size
        request.last_modified_epoch_seconds = int(path.stat().st_mtime)
        return self._send(path, lambda kaggle: kaggle.blobs.blob_api_client.start_blob_upload(request))

    def create_model(self, name: str, new: NewModel) -> None:
        """Create a model without any variation.

        Raises:
            LostError: No answer came; Kaggle may have it or not.
            UserError: Kaggle refused it.
        """
        request = models.ApiCreateModelRequest()
        request.owner_slug, request.slug = name.split("/")[:2]
        request.title, request.is_private = new.title, new.is_private
        request.description = new.card
        self._save(f"create the model {name}", "create_model", request)

    def create_variation(self, name: str, new: NewModel, files: Tokens) -> str:
        """Create a variation of a model with its first version; returns its address; as `create_model`."""
        request = models.ApiCreateModelInstanceRequest()
        request.owner_slug, request.model_slug, framework, variation = name.split("/")
        request.body = models.ApiCreateModelInstanceRequestBody()
        request.body.instance_slug, request.body.framework = variation, _framework(framework)
        request.body.usage = new.card
        request.body.license_name, request.body.fine_tunable = new.license, True
        _add_files(request.body, files)
        return self._save(f"create the model {name}", "create_model_instance", request)

    def create_version(self, name: str, notes: str, files: Tokens) -> str:
        """Create the next version of a variation; returns its address; as `create_model`."""
        request = models.ApiCreateModelInstanceVersionRequest()
        _name(request, name)
        request.body = models.ApiCreateModelInstanceVersionRequestBody()
        request.body.version_notes = notes
        _add_files(request.body, files)
        return self._save(f"save a version of {name}", "create_model_instance_version", request)

    def update_card(self, name: str, card: str) -> None:
        """Replace the description of a model and the usage of a variation."""
        about = models.ApiUpdateModelRequest()
        about.owner_slug, about.model_slug = name.split("/")[:2]
        about.description, about.update_mask = card, FieldMask(paths=["description"])
        usage = models.ApiUpdateModelInstanceRequest()
        _name(usage, name)
        usage.usage, usage.update_mask = card, FieldMask(paths=["usage"])
        self.ask(f"update the card of {name}", self._call, "update_model", about)
        self.ask(f"update the card of {name}", self._call, "update_model_instance", usage)

    def fetch_model_file(
        self, name: str, version: int, file: str, path: Path, admit: Callable[[int, int], None]
    ) -> None:
        """Download one file of a version, or resume an earlier download.

        Args:
            name: The model's variation.
            version: Number of the version.
            file: Path of the file in the model.
            path: The file to write.
            admit: See `fetch_competition`.
        """
        request = models.ApiDownloadModelInstanceVersionRequest()
        _name(request, name)
        request.version_number, request.path = version, file
        self._fetch(
            f"download {file} of {name}",
            lambda kaggle: kaggle.models.model_api_client.download_model_instance_version(request),
            path,
            admit,
        )

    def _find(self, doing: str, call: Callable[..., Any], *words: Any) -> Any:
        """Ask for something; None where Kaggle does not have it, or does not show it to this user."""
        try:
            return self.ask(doing, call, *words)
        except RefusedError as error:
            if error.status in (403, 404):
                return None
            raise

    def _call(self, method: str, request: Any) -> Any:
        with self._api.build_kaggle_client() as kaggle:
            return getattr(kaggle.models.model_api_client, method)(request)

    def _save(self, doing: str, method: str, request: Any) -> str:
        """Create something once; returns its address."""
        answer = self.ask(doing, self._call, method, request, repeatable=False)
        if answer.error:
            raise RefusedError(0, f"could not {doing}: {answer.error}")
        return str(answer.url or "")


def _name(request: Any, name: str) -> None:
    """Write the parts of a variation's name into a request."""
    request.owner_slug, request.model_slug, framework, request.instance_slug = name.split("/")
    request.framework = _framework(framework)


def _framework(word: str) -> ModelFramework:
    """Return Kaggle's framework by the word of its addresses, such as 'keras' or 'pyTorch'."""
    wanted = word.replace("_", "").lower()
    for one in ModelFramework:
        if one.name.removeprefix("MODEL_FRAMEWORK_").replace("_", "").lower() == wanted:
            return one
    raise RefusedError(0, f"Kaggle has no framework {word!r}")


def _add_files(body: Any, files: Tokens) -> None:
    """Write uploaded files into the body of a request, those in a folder below it."""
    body.files, body.directories = [], []
    for path, token in files.items():
        folder, _, _ = path.rpartition("/")
        file = datasets.ApiDatasetNewFile()
        file.token = token
        if not folder:
            body.files.append(file)
            continue
        found = [one for one in body.directories if one.name == folder]
        if not found:
            found = [datasets.ApiUploadDirectoryInfo()]
            found[0].name, found[0].files = folder, []
            body.directories += found
        found[0].files.append(file)
