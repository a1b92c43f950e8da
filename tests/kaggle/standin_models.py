"""Models as the API has them: a model, its variations by framework, their versions and files."""

from typing import Any

from tests.kaggle.standin_api import Body, Method, RefusedError, check_owner, cut_page, redirect, uploaded
from tests.kaggle.standin_state import USER, Kaggle, Model, Version
from tests.kaggle.standin_storage import Storage
from tests.kaggle.standin_wire import Answer


def get_model(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    model = _model(kaggle, body)
    ref = f"{body['ownerSlug']}/{body['modelSlug']}"
    return {"id": 1, "ref": ref, "title": model.title, "isPrivate": model.is_private}


def get_model_instance(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    versions = _versions(kaggle, body)
    return {
        "id": 1,
        "slug": body["instanceSlug"],
        "framework": body["framework"],
        "versionNumber": len(versions),
    }


def create_model(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    check_owner(body["ownerSlug"], "models.create")
    ref = f"{body['ownerSlug']}/{body['slug']}"
    if ref in kaggle.models:
        return {"error": f"The slug {body['slug']} is already in use by a model.", "errorCode": 409}
    kaggle.models[ref] = Model(body["title"], body.get("description", ""), body.get("isPrivate", False))
    return _saved(ref)


def create_model_instance(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    model, inner = _model(kaggle, body), body["body"]
    check_owner(body["ownerSlug"], "models.update")
    key = f"{inner['framework']}/{inner['instanceSlug']}"
    if key in model.variations:
        return {"error": "The variation exists already.", "errorCode": 409}
    model.variations[key] = [Version(_files(storage, inner), body)]
    model.usages[key] = inner.get("usage", "")
    return _saved(f"{body['ownerSlug']}/{body['modelSlug']}/{key}/1")


def create_model_instance_version(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    versions = _versions(kaggle, body)
    check_owner(body["ownerSlug"], "models.update")
    versions.append(Version(_files(storage, body["body"]), body))
    return _saved(f"{body['ownerSlug']}/{body['modelSlug']}/{body['instanceSlug']}/{len(versions)}")


def update_model(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    model = _model(kaggle, body)
    check_owner(body["ownerSlug"], "models.update")
    for name in body["updateMask"].split(","):
        setattr(model, {"isPrivate": "is_private"}.get(name, name), body[name])
    return _saved(f"{body['ownerSlug']}/{body['modelSlug']}")


def update_model_instance(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    _versions(kaggle, body)
    check_owner(body["ownerSlug"], "models.update")
    assert body["updateMask"] == "usage", body
    _model(kaggle, body).usages[f"{body['framework']}/{body['instanceSlug']}"] = body["usage"]
    return _saved(f"{body['ownerSlug']}/{body['modelSlug']}")


def list_files(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    files = [{"name": name, "size": len(content)} for name, content in _version(kaggle, body).files.items()]
    page, token = cut_page(files, body)
    return {"files": page, "nextPageToken": token}


def download(kaggle: Kaggle, storage: Storage, body: Body) -> Answer:
    files = _version(kaggle, body).files
    if body["path"] not in files:
        raise RefusedError(404, "Not found")
    name = f"/kaggle-models/{body['ownerSlug']}/{body['modelSlug']}/{body['versionNumber']}/{body['path']}"
    return redirect(storage.publish(name, files[body["path"]]))


def _model(kaggle: Kaggle, body: Body) -> Model:
    model = kaggle.models.get(f"{body['ownerSlug']}/{body['modelSlug']}")
    if model is None or (model.is_private and body["ownerSlug"] != USER):
        raise RefusedError(403 if model is None else 404, "Permission 'models.get' was denied")
    return model


def _versions(kaggle: Kaggle, body: Body) -> list[Version]:
    versions = _model(kaggle, body).variations.get(f"{body['framework']}/{body['instanceSlug']}")
    if versions is None:
        raise RefusedError(404, "Not found")
    return versions


def _version(kaggle: Kaggle, body: Body) -> Version:
    versions, number = _versions(kaggle, body), body["versionNumber"]
    if not 1 <= number <= len(versions):
        raise RefusedError(404, "Not found")
    return versions[number - 1]


def _files(storage: Storage, body: Body, folder: str = "") -> dict[str, bytes]:
    """Return the uploaded files of a request by their paths, those in folders after the others."""
    found = {}
    for file in body.get("files", []):
        name, content = uploaded(storage, file["token"])
        found[folder + name] = content
    for each in body.get("directories", []):
        found |= _files(storage, each, f"{folder}{each['name']}/")
    return found


def _saved(ref: str) -> dict[str, Any]:
    return {"id": 1, "ref": ref, "url": f"https://www.kaggle.com/models/{ref}", "error": ""}


METHODS: dict[str, Method] = {
    "models.ModelApiService/GetModel": get_model,
    "models.ModelApiService/GetModelInstance": get_model_instance,
    "models.ModelApiService/CreateModel": create_model,
    "models.ModelApiService/CreateModelInstance": create_model_instance,
    "models.ModelApiService/CreateModelInstanceVersion": create_model_instance_version,
    "models.ModelApiService/UpdateModel": update_model,
    "models.ModelApiService/UpdateModelInstance": update_model_instance,
    "models.ModelApiService/ListModelInstanceVersionFiles": list_files,
    "models.ModelApiService/DownloadModelInstanceVersion": download,
}
