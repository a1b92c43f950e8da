"""Datasets of the user: state, upload, new versions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kagglesdk.blobs.types import blob_api_service as blobs
from kagglesdk.datasets.types import dataset_api_service as datasets

from pneumothorax.kaggle.client.uploads import Uploads
from pneumothorax.kaggle.errors import RefusedError


class Datasets(Uploads):
    """Calls for datasets that notebooks attach."""

    def dataset_state(self, dataset: str) -> str:
        """Return the state of a dataset 'owner/slug', such as 'ready'; '' if it does not exist."""
        try:
            return str(self.ask(f"ask for the dataset {dataset}", self._api.dataset_status, dataset))
        except RefusedError as error:
            if error.status in (403, 404):
                return ""
            raise

    def upload_dataset(
        self, dataset: str, title: str, files: Sequence[Path], notes: str, *, new: bool
    ) -> str:
        """Upload files as a private dataset 'owner/slug', or as its next version; all of them or none.

        Returns:
            Its address.

        Raises:
            UserError: Kaggle refused a file or the dataset.
        """
        listed = [self._upload_blob(path) for path in files]
        owner, slug = dataset.split("/")

        def save() -> Any:
            with self._api.build_kaggle_client() as kaggle:
                service = kaggle.datasets.dataset_api_client
                if new:
                    request = datasets.ApiCreateDatasetRequest()
                    request.owner_slug, request.slug, request.title = owner, slug, title
                    request.license_name, request.is_private, request.files = "other", True, listed
                    return service.create_dataset(request)
                version = datasets.ApiCreateDatasetVersionRequest()
                version.owner_slug, version.dataset_slug = owner, slug
                version.body = datasets.ApiCreateDatasetVersionRequestBody()
                version.body.version_notes, version.body.files = notes, listed
                return service.create_dataset_version(version)

        answer = self.ask(f"save the dataset {dataset}", save, repeatable=False)
        if answer.error or str(answer.status).lower() == "error":
            raise RefusedError(
                0, f"Kaggle refused the dataset {dataset}: {answer.error or 'no reason given'}"
            )
        return str(answer.url)

    def _upload_blob(self, path: Path) -> Any:
        request = blobs.ApiStartBlobUploadRequest()
        request.type, request.name = blobs.ApiBlobType.DATASET, path.name
        request.content_length = path.stat().st_size
        request.last_modified_epoch_seconds = int(path.stat().st_mtime)
        file = datasets.ApiDatasetNewFile()
        file.token = self._send(path, lambda kaggle: kaggle.blobs.blob_api_client.start_blob_upload(request))
        return file
