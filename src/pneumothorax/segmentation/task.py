"""The job of `segment` and the folder of its results: checked before an image is read."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.inference.predictor import Predictor
from pneumothorax.inference.rule import Rule
from pneumothorax.locks import LOCK_NAME
from pneumothorax.segmentation import log, results
from pneumothorax.workspace import locked


@dataclass(frozen=True)
class Task:
    """Settings for all images.

    Attributes:
        out: The folder of results.
        source: Digest of the input (see `log.digest_source`).
        networks: The networks.
        rule: Rule from probability to mask.
        paths: Path of each image's files, by its name.
        objects: Requested DICOM objects, 'dicom_seg' and 'dicom_sc'.
        identify: Whether results name the patient.
        made_by: Description of networks and rule, on which masks depend.
    """

    out: Path
    source: str
    networks: Predictor
    rule: Rule
    paths: dict[str, str]
    objects: list[str]
    identify: bool
    made_by: str


def check_rule(networks: Predictor, rule: Rule) -> None:
    """Refuse a classification threshold where a network has no classification head."""
    if networks.silent and rule.classification_threshold:
        silent = ", ".join(networks.silent)
        raise UserError(
            f"classification threshold {rule.classification_threshold:g} for {silent}, which has "
            "no classification head",
            "networks with a classification head",
            "use --classification-threshold 0, or tune again",
        )


def need_highdicom() -> None:
    """Check that DICOM objects can be written."""
    try:
        import pneumothorax.segmentation.dicom_objects  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "highdicom":
            raise
        raise UserError(
            "--dicom-seg and --dicom-sc need highdicom, which is not installed",
            remedy="pip install -e '.[dicom]', or leave them out",
        ) from None


def check_out(out: Path) -> None:
    """Check that the folder of results is new, empty or an older one: nothing else is overwritten."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "a folder for the results", "choose another --out")
    others = out.is_dir() and not all(map(_is_begun, out.iterdir()))
    if others and not (out / log.LOG).is_file():
        raise UserError(
            f"{out} holds other files", "a new folder, or results of `segment`", "choose another --out"
        )


def _is_begun(path: Path) -> bool:
    """Return whether a call that was killed before it had written a result may have left something."""
    if path.name in results.FILES.values():
        return path.is_dir() and not any(path.iterdir())
    return path.name.startswith(LOCK_NAME) or (
        path.name.startswith(".") and path.name.endswith(f".{log.LOG}")
    )


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Let one command at a time write to the folder of results; it is removed if nothing is written."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out, f"another command writes to {out}"):
            yield
    finally:
        with suppress(OSError):  # it is not empty
            out.rmdir()


def make_room(task: Task) -> None:
    """Make the folders, and delete the outdated tables, which are written again at the end."""
    for kind in ("mask", "overlay", *task.objects):
        (task.out / results.FILES[kind]).mkdir(parents=True, exist_ok=True)
    for name in (results.CSV, results.JSON):
        (task.out / name).unlink(missing_ok=True)
