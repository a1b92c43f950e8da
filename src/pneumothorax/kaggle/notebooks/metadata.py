"""kernel-metadata.json: read, checked by Kaggle's rules, and completed for the user who pushes.

Kaggle accepts a wrong field silently and lets the notebook fail an hour later, so all rules are checked
here. The file in the repository names the literal owner ``OWNER``. Sends nothing.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slugify import slugify

from pneumothorax.errors import UserError

NAME = "kernel-metadata.json"
OWNER = "OWNER"  # stands in the repository's files for the user who pushes

Metadata = dict[str, Any]

_ALWAYS = ("id", "title", "code_file", "language", "kernel_type", "is_private", "enable_internet")
_SWITCHES = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")
_CHOICES = {
    "language": ("python", "r", "rmarkdown"),
    "kernel_type": ("notebook", "script"),
    "docker_image_pinning_type": ("original", "latest"),
}
_WORD = r"[A-Za-z0-9][\w-]*"
_SOURCES = {
    "competition_sources": (_WORD, "slug"),
    "dataset_sources": (rf"{_WORD}/{_WORD}(/\d+)?", "owner/slug or owner/slug/version"),
    "kernel_sources": (rf"{_WORD}/{_WORD}(/\d+)?", "owner/slug or owner/slug/version"),
    "model_sources": (rf"{_WORD}/{_WORD}/{_WORD}/[\w.-]+/\d+", "owner/model/framework/variation/version"),
}
_TEXTS = ("machine_shape", "docker_image")
_KNOWN = {*_ALWAYS, *_SWITCHES, *_CHOICES, *_SOURCES, *_TEXTS, "keywords"}
# Machines that Kaggle no longer lends, and their replacements.
RETIRED = {
    "NvidiaTeslaP100": "NvidiaTeslaT4",
    **dict.fromkeys(("TpuV38", "Tpu1VmV38"), "TpuV5E8"),
    **dict.fromkeys(("TpuV232", "TpuV2256"), ""),
}
_PINS = ("docker_image", "docker_image_pinning_type")  # of the image that a notebook runs in
TPU = "TpuV5E8"  # the one that Kaggle lends everyone
_SUFFIXES = {"notebook": (".ipynb",), "script": (".py", ".r", ".rmd")}
TITLE_LENGTH = (5, 50)


def read(folder: Path) -> Metadata:
    """Read the metadata of the kernel in a folder.

    Raises:
        UserError: There is no file, or it is not a JSON object.
    """
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"no {path}", "the metadata of a kernel", "see kernels/train for an example")
    try:
        metadata = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error})") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path} holds a {type(metadata).__name__}", "a JSON object")
    return metadata


def check(metadata: Metadata, folder: Path) -> None:
    """Check the metadata of a kernel by Kaggle's rules and by ours.

    Args:
        metadata: Metadata from `read` or `complete`.
        folder: Folder of the metadata and the code.

    Raises:
        UserError: A field is unknown, missing or wrong; names file, field, found and expected value.
    """
    path = folder / NAME

    def fail(field: str, expected: str, remedy: str = "") -> None:
        raise UserError(f"{path}: {field} {json.dumps(metadata.get(field))}", expected, remedy)

    if unknown := sorted(metadata.keys() - _KNOWN):
        raise UserError(f"{path}: unknown field {', '.join(unknown)}", "fields that Kaggle knows")
    if missing := [name for name in _ALWAYS if name not in metadata]:
        remedy = "write it: Kaggle's own default is not documented alike everywhere"
        raise UserError(f"{path}: no {', '.join(missing)}", "a value", remedy)
    for name in _SWITCHES:
        if not isinstance(metadata.get(name, False), bool):
            fail(name, "true or false, without quotes")
    for name, choices in _CHOICES.items():
        if name in metadata and metadata[name] not in choices:
            fail(name, " or ".join(choices))
    for name in _TEXTS:
        if not isinstance(metadata.get(name, ""), str):
            fail(name, "text")
    _check_name(metadata, fail)
    _check_code(metadata, folder, fail)
    _check_machine(metadata, fail)
    _check_sources(metadata, fail)


def complete(
    metadata: Metadata,
    *,
    owner: str,
    slug_suffix: str = "",
    dataset_sources: Sequence[str] = (),
    kernel_sources: Sequence[str] = (),
    internet: bool | None = None,
) -> Metadata:
    """Complete the metadata of the repository for one push.

    Args:
        metadata: Metadata from `read`; not changed.
        owner: The user who pushes; takes the place of ``OWNER``.
        slug_suffix: Appended to slug and title, such as 'fold0', for several kernels of one source.
        dataset_sources: Datasets to attach besides those of the file.
        kernel_sources: Notebooks to attach in place of those of the file.
        internet: Switches the internet on or off; as in the file when None.
    """
    done = dict(metadata)
    done["title"] = " ".join([metadata["title"], *re.findall(r"\w+", slug_suffix)])
    done["id"] = f"{owner}/{slugify(done['title'])}"
    attached = {
        "dataset_sources": [*metadata.get("dataset_sources", ()), *dataset_sources],
        "kernel_sources": list(kernel_sources) or metadata.get("kernel_sources", []),
    }
    for name, sources in attached.items():
        owned = [re.sub(f"^{OWNER}/", f"{owner}/", source) for source in sources]
        done[name] = list(dict.fromkeys(owned))
    if internet is not None:
        done["enable_internet"] = internet
    return done


def choose_machine(metadata: Metadata, accelerator: str) -> Metadata:
    """Return metadata that ask for another machine than the file's, which has GPUs.

    Args:
        metadata: Metadata from `read` or `complete`; not changed.
        accelerator: 'gpu' changes nothing; 'tpu' asks for a TPU, without an image pin; 'cpu' for neither,
            or the session would use up the hours of a GPU.
    """
    if accelerator == "gpu":
        return dict(metadata)
    chosen = {**metadata, "enable_gpu": False, "enable_tpu": accelerator == "tpu"}
    chosen.pop("machine_shape", None)
    if accelerator == "tpu":
        chosen["machine_shape"] = TPU
        for pin in _PINS:
            chosen.pop(pin, None)
    return chosen


_Fail = Callable[..., None]


def _check_name(metadata: Metadata, fail: _Fail) -> None:
    """Check title and id: Kaggle derives the address from the title, and ignores the id."""
    title, name = metadata["title"], metadata["id"]
    shortest, longest = TITLE_LENGTH
    if not isinstance(title, str) or not shortest <= len(title) <= longest:
        fail("title", f"text of {shortest} to {longest} characters")
    if not isinstance(name, str) or not re.fullmatch(rf"{_WORD}/[a-z0-9-]+", name):
        fail("id", f"{OWNER}/slug or your-name/slug, without a version")
    slug = name.partition("/")[2]
    if not shortest <= len(slug) <= longest:
        fail("id", f"a slug of {shortest} to {longest} characters")
    if slug != slugify(title):
        fail("id", f"the slug of its title, {slugify(title)!r}", "change the one or the other")


def _check_code(metadata: Metadata, folder: Path, fail: _Fail) -> None:
    name, suffixes = metadata["code_file"], _SUFFIXES[metadata["kernel_type"]]
    if not isinstance(name, str) or name != Path(name).name:
        fail("code_file", f"the name of one file next to {NAME}")
    if Path(name).suffix.lower() not in suffixes:
        fail("code_file", f"a {metadata['kernel_type']}, ending in {' or '.join(suffixes)}")
    if not (folder / name).is_file():
        fail("code_file", f"a file in {folder}", "run `make kernels`")


def _check_machine(metadata: Metadata, fail: _Fail) -> None:
    shape = metadata.get("machine_shape", "")
    if shape in RETIRED:
        fail("machine_shape", RETIRED[shape] or "no TPU of this size", "Kaggle has retired this machine")
    if metadata.get("enable_gpu") and metadata.get("enable_tpu"):
        fail("enable_tpu", "false where enable_gpu is true")
    for pin in _PINS:
        if metadata.get("enable_tpu") and metadata.get(pin):
            reason = "a pinned image overrides the TPU: the session would run in an image without TPU support"
            fail(pin, "no image pin together with enable_tpu", reason)
    for prefix, switch in (("Nvidia", "enable_gpu"), ("Tpu", "enable_tpu")):
        if shape.startswith(prefix) and not metadata.get(switch):
            fail("machine_shape", f"none, or {switch} true")


def _check_sources(metadata: Metadata, fail: _Fail) -> None:
    for name in (*_SOURCES, "keywords"):
        listed = metadata.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(source, str) for source in listed):
            fail(name, "a list of texts")
        if len(set(listed)) < len(listed):
            fail(name, "each once")
    for name, (pattern, form) in _SOURCES.items():
        if not all(re.fullmatch(pattern, source, re.ASCII) for source in metadata.get(name, [])):
            fail(name, f"{form}, as in the page's address")
