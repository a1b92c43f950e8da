"""The account as the API tells of it: its token, its kernels and their output, its quota."""

from typing import Any

from tests.kaggle.standin_api import Body, Method, RefusedError, check_owner, cut_page, instant
from tests.kaggle.standin_state import TOKEN, USER, Kaggle, Kernel
from tests.kaggle.standin_storage import Storage

_SOURCES = ("dataset", "competition", "kernel", "model")
SOURCE_LIMIT = 1_000_000
SOURCE_TOO_LARGE = "The kernel source must be less than 1 megabytes in size."


def introspect_token(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    if body["token"] != TOKEN:
        return {"active": False}
    return {"active": True, "username": USER, "scope": "resources.admin:*"}


def save_kernel(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    ref = body["slug"]
    check_owner(ref.partition("/")[0], "kernels.update")
    if len(body.get("text", "").encode()) >= SOURCE_LIMIT:
        raise RefusedError(400, SOURCE_TOO_LARGE)
    kernel = kaggle.kernels.setdefault(ref, Kernel())
    error = _push_error(kaggle, kernel, body)
    if error:
        return {"error": error}
    invalid = {kind: _invalid(kaggle, kernel, kind, body) for kind in _SOURCES}
    kernel.pushes.append(body)
    kernel.steps.names, kernel.steps.asked = kernel.statuses, 0
    return {
        "ref": f"/code/{ref}",
        "url": f"https://www.kaggle.com/code/{ref}",
        "versionNumber": len(kernel.pushes),
        "error": "",
        "invalidTags": [],
        **{f"invalid{kind.title()}Sources": names for kind, names in invalid.items()},
        "kernelId": 1000 + list(kaggle.kernels).index(ref),
    }


def get_kernel_session_status(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    kernel = _kernel(kaggle, body)
    status = kernel.steps.next()
    if status == "ERROR":
        return {"status": status, "failureMessage": kernel.failure_message}
    return {"status": status}


def list_kernel_session_output(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    kernel = _kernel(kaggle, body)
    page, following = cut_page(list(kernel.outputs), body)
    folder = f"/kaggle-script-versions/{body['userName']}/{body['kernelSlug']}/{len(kernel.pushes)}/output"
    files = [
        {
            "fileName": name,
            "url": storage.publish(f"{folder}/{name}", kernel.outputs[name], expired=name in kernel.expired),
        }
        for name in page
    ]
    return {"files": files, "log": kernel.log, "nextPageToken": following}


def get_accelerator_quota_statistics(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    quota = kaggle.quota

    def tell(used: int, allowed: int) -> dict[str, str]:
        return {"timeUsed": f"{used}s", "totalTimeAllowed": f"{allowed}s"}

    return {
        "quotaRefreshTime": instant(quota.refresh),
        "gpuQuota": tell(quota.gpu_used_seconds, quota.gpu_allowed_seconds),
        "tpuQuota": tell(quota.tpu_used_seconds, quota.tpu_allowed_seconds),
    }


def _push_error(kaggle: Kaggle, kernel: Kernel, body: Body) -> str:
    """Return why a push is refused, '' when it is not."""
    error = kernel.push_errors.pop(0) if kernel.push_errors else kernel.push_error
    if error or kaggle.gpu_sessions is None or not body.get("enableGpu"):
        return error
    others = [other for other in kaggle.kernels.values() if other.active]
    busy = sum(other.pushes[-1].get("enableGpu", False) for other in others)
    return f"Maximum batch GPU session count of {kaggle.gpu_sessions} reached." * (
        busy >= kaggle.gpu_sessions
    )


def _invalid(kaggle: Kaggle, kernel: Kernel, kind: str, body: Body) -> list[str]:
    """Return the sources of one kind that Kaggle does not know, as named, and those that a test declared."""
    known: dict[str, set[str]] = {
        "dataset": set(kaggle.datasets),
        "competition": set(kaggle.competitions),
        "kernel": {ref for ref, other in kaggle.kernels.items() if other.pushes},
    }
    declared = kernel.invalid.get(kind, [])
    return [
        source
        for source in body.get(f"{kind}DataSources", [])
        if source in declared or (kind in known and "/".join(source.split("/")[:2]) not in known[kind])
    ]


def _kernel(kaggle: Kaggle, body: Body) -> Kernel:
    kernel = kaggle.kernels.get(f"{body.get('userName', '')}/{body.get('kernelSlug', '')}")
    if kernel is None or not kernel.pushes:
        raise RefusedError(403, "Permission 'kernels.get' was denied")
    return kernel


METHODS: dict[str, Method] = {
    "security.OAuthService/IntrospectToken": introspect_token,
    "kernels.KernelsApiService/SaveKernel": save_kernel,
    "kernels.KernelsApiService/GetKernelSessionStatus": get_kernel_session_status,
    "kernels.KernelsApiService/ListKernelSessionOutput": list_kernel_session_output,
    "kernels.KernelsApiService/GetAcceleratorQuotaStatistics": get_accelerator_quota_statistics,
}
