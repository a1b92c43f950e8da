"""Datasets as the API tells of them, and the uploads that they are made of."""

from typing import Any

from tests.kaggle.standin_api import Body, Method, RefusedError, check_owner, instant, redirect, uploaded
from tests.kaggle.standin_state import Dataset, Kaggle, Version
from tests.kaggle.standin_storage import MODIFIED, Storage
from tests.kaggle.standin_wire import Answer


def get_dataset_metadata(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    dataset = _dataset(kaggle, body)
    return {"info": {"title": dataset.title, "licenses": [{"name": dataset.license}]}}


def get_dataset(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    dataset = _dataset(kaggle, body)
    total = len(dataset.zipped()) if dataset.total_bytes is None else dataset.total_bytes
    return {
        "ref": f"{body['ownerSlug']}/{body['datasetSlug']}",
        "title": dataset.title,
        "totalBytes": total,
        "currentVersionNumber": max(1, len(dataset.versions)),
        "licenseName": dataset.license,
        "lastUpdated": instant(MODIFIED),
    }


def download_dataset(kaggle: Kaggle, storage: Storage, body: Body) -> Answer:
    content = _dataset(kaggle, body).zipped()
    return redirect(
        storage.publish(f"/kaggle-data-sets/{body['ownerSlug']}/{body['datasetSlug']}/archive.zip", content)
    )


def get_dataset_status(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    return {"status": _dataset(kaggle, body).steps.next()}


def start_blob_upload(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    return storage.open_upload(body["name"], body.get("contentLength", 0))


def create_dataset(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    ref = f"{body['ownerSlug']}/{body['slug']}"
    check_owner(body["ownerSlug"], "datasets.create")
    if ref in kaggle.datasets:
        error = f'The requested title "{body["title"]}" is already in use by a dataset.'
        return {"status": "error", "error": error}
    version = Version(_uploaded_files(storage, body), body)
    dataset = Dataset(title=body["title"], license=body["licenseName"], statuses=kaggle.new_dataset_statuses)
    dataset.add(version)
    kaggle.datasets[ref] = dataset
    return _dataset_saved(ref)


def create_dataset_version(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    dataset = _dataset(kaggle, body)
    check_owner(body["ownerSlug"], "datasets.update")
    version = Version(_uploaded_files(storage, body["body"]), body)
    if body["body"].get("deleteOldVersions"):
        dataset.versions.clear()
    dataset.add(version)
    return _dataset_saved(f"{body['ownerSlug']}/{body['datasetSlug']}")


def _dataset(kaggle: Kaggle, body: Body) -> Dataset:
    ref = f"{body.get('ownerSlug', '')}/{body.get('datasetSlug', '')}"
    if ref not in kaggle.datasets:
        raise RefusedError(404, "Not found")
    return kaggle.datasets[ref]


def _uploaded_files(storage: Storage, body: Body) -> dict[str, bytes]:
    return dict(uploaded(storage, file["token"]) for file in body.get("files", []))


def _dataset_saved(ref: str) -> dict[str, Any]:
    return {"ref": ref, "url": f"https://www.kaggle.com/datasets/{ref}", "status": "ok", "error": ""}


METHODS: dict[str, Method] = {
    "datasets.DatasetApiService/GetDatasetMetadata": get_dataset_metadata,
    "datasets.DatasetApiService/GetDataset": get_dataset,
    "datasets.DatasetApiService/DownloadDataset": download_dataset,
    "datasets.DatasetApiService/GetDatasetStatus": get_dataset_status,
    "blobs.BlobApiService/StartBlobUpload": start_blob_upload,
    "datasets.DatasetApiService/CreateDataset": create_dataset,
    "datasets.DatasetApiService/CreateDatasetVersion": create_dataset_version,
}
