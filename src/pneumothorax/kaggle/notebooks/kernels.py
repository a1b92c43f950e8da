"""Build, check and push our notebooks, one for each fold on request."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pneumothorax import source
from pneumothorax.errors import UserError
from pneumothorax.kaggle import KERNELS
from pneumothorax.kaggle.errors import LostError
from pneumothorax.kaggle.notebooks import metadata, notebook
from pneumothorax.kaggle.notebooks.dependencies import SLUG as DEPENDENCIES
from pneumothorax.workspace import atomic, write_text

if TYPE_CHECKING:  # the client is imported when a command needs it
    from pneumothorax.kaggle.client import Client

INSTALLING = ("train", "submit")  # they need packages that Kaggle's image lacks
GIVEN = "parameters.json"  # next to a staged notebook: its parameters


@dataclass(frozen=True)
class Job:
    """One notebook to push, or to watch (see `outputs`).

    Attributes:
        kernel: Name of its source, a folder below kernels/.
        fold: The fold it trains; None for a notebook that trains all in its FOLDS.
    """

    kernel: str
    fold: int | None = None

    @property
    def suffix(self) -> str:
        """Suffix that distinguishes it from the other notebooks of its source."""
        return "" if self.fold is None else f"fold{self.fold}"


def find_kernels() -> Path:
    """Return the folder of the notebooks' sources.

    Raises:
        UserError: The package does not lie in a checkout.
    """
    folder = source.FOLDER.parent.parent / "kernels"
    if not folder.is_dir():
        raise UserError(
            f"no {folder}", "the repository's kernels/", "clone the repository and `make install` there"
        )
    return folder


def build_all() -> list[tuple[Path, int]]:
    """Write every notebook from its source, and check its metadata; returns paths and sizes in bytes."""
    built = []
    for name in KERNELS:
        folder = find_kernels() / name
        path = notebook.write(folder)
        metadata.check(metadata.read(folder), folder)
        built.append((path, path.stat().st_size))
    return built


def make_jobs(kernel: str, folds: Sequence[int] | None) -> list[Job]:
    """Return one job for each fold of `train`; any other notebook is one."""
    return [Job(kernel, fold) for fold in folds] if folds and kernel == "train" else [Job(kernel)]


def name_of(job: Job, owner: str) -> str:
    """Return 'owner/slug' of a job's notebook."""
    completed = metadata.complete(
        metadata.read(find_kernels() / job.kernel), owner=owner, slug_suffix=job.suffix
    )
    return str(completed["id"])


def stage(
    job: Job,
    owner: str,
    build: Path,
    *,
    parameters: Mapping[str, str],
    attach: Sequence[str] = (),
    internet: bool = True,
) -> Path:
    """Write the files to push for a job: the notebook with its parameters and commit, and the metadata.

    Args:
        job: Notebook to push.
        owner: User who pushes.
        build: Parent of the folder that is made.
        parameters: Texts of the notebook's parameters, read as its cell has them.
        attach: Notebooks whose outputs it reads, 'owner/slug'.
        internet: Whether it runs with internet; if not, the dataset of `kernels-deps` is attached.

    Returns:
        The folder.

    Raises:
        UserError: A parameter or the metadata is wrong.
    """
    origin = find_kernels() / job.kernel
    code = origin / f"{job.kernel}.py"
    values = notebook.read_values(code, _with_fold(job, parameters))
    completed = metadata.complete(
        metadata.read(origin),
        owner=owner,
        slug_suffix=job.suffix,
        kernel_sources=attach,
        dataset_sources=() if internet or job.kernel not in INSTALLING else (f"{owner}/{DEPENDENCIES}",),
        internet=internet,
    )
    if "ACCELERATOR" in values:
        completed = metadata.choose_machine(completed, str(values["ACCELERATOR"]))
    if "DATASET" in values:
        usual = notebook.read_parameters(code)["DATASET"]
        attached = [values["DATASET"] if name == usual else name for name in completed["dataset_sources"]]
        completed["dataset_sources"] = list(dict.fromkeys(attached))
    content = notebook.build(code, parameters=values, commit=source.find_commit())
    folder = build / str(completed["id"]).partition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / str(completed["code_file"])) as temporary:
        temporary.write_bytes(content)
    write_text(folder / metadata.NAME, json.dumps(completed, indent=2) + "\n")
    write_text(folder / GIVEN, json.dumps(dict(parameters), indent=2) + "\n")
    metadata.check(completed, folder)
    return folder


def read_all(job: Job, parameters: Mapping[str, str]) -> dict[str, object]:
    """Return the value of every parameter of a job's notebook, given or default.

    Raises:
        UserError: A parameter is unknown or of another type.
    """
    code = find_kernels() / job.kernel / f"{job.kernel}.py"
    return notebook.read_parameters(code) | notebook.read_values(code, _with_fold(job, parameters))


def read_given(build: Path, name: str) -> dict[str, str] | None:
    """Return the parameters that a notebook was last staged with; None if it never was, here."""
    path = build / name.partition("/")[2] / GIVEN
    if not path.is_file():
        return None
    return {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}


def _with_fold(job: Job, parameters: Mapping[str, str]) -> dict[str, str]:
    return dict(parameters) | ({} if job.fold is None else {"FOLDS": str(job.fold)})


def push(folders: Mapping[Job, Path], client: "Client") -> None:
    """Push staged notebooks, one after the other; Kaggle runs them side by side.

    Args:
        folders: The staged folder of each job.
        client: The connection.

    Raises:
        UserError: Kaggle refuses one, leaves a source out or does not answer; the message names those
            pushed, and the command that pushes the rest.
    """
    done: list[str] = []
    for job, folder in folders.items():
        name = f"{client.user}/{folder.name}"
        before = f"{', '.join(done)} pushed already; " if done else ""
        again = _again(list(folders)[len(done) :])
        try:
            pushed = client.push(folder)
        except LostError as error:
            fold = "" if job.fold is None else f" --fold {job.fold}"
            raise UserError(
                f"{before}{error.found}; whether Kaggle runs {name} is not known",
                error.expected,
                f"`pneumothorax kernel-status {job.kernel}{fold}` shows it; if not, {again}",
            ) from error
        except UserError as error:
            raise UserError(before + error.found, error.expected, error.remedy or again) from error
        if pushed.error:
            busy = "once one has ended, " if "session count" in pushed.error else ""
            raise UserError(f"{before}Kaggle refused {name}: {pushed.error}", "", busy + again)
        if pushed.invalid:
            odd = "; ".join(
                f"{kind.replace('_', ' ')} {', '.join(names)}" for kind, names in pushed.invalid.items()
            )
            raise UserError(
                f"{before}{name} runs as version {pushed.version}, but Kaggle does not know {odd}",
                "sources that exist and that you may see",
                f"cancel the run on {pushed.url}, mend the names or accept the rules, then {again}",
            )
        done.append(name)
        print(f"{name}: version {pushed.version} runs, {pushed.url}", flush=True)


def _again(jobs: Sequence[Job]) -> str:
    """Return the advice that pushes the remaining jobs."""
    folds = [str(job.fold) for job in jobs if job.fold is not None]
    return "run the same command again" + (f" with --fold {','.join(folds)}" if folds else "")
