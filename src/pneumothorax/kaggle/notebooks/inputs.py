"""Give the attached inputs of a Kaggle session the shape of a workspace: raw data, ImageNet weights, runs.

Without Kaggle the same calls work on any folder that `mounts` is given.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pneumothorax import mounts
from pneumothorax.errors import UserError
from pneumothorax.workspace import Workspace


def offer_weights() -> list[str]:
    """Link mounted files of ImageNet weights without top into Keras' cache, where downloads would lie.

    So ``encoder_weights="imagenet"`` works without internet, and the recipe stays the same. Files in the
    cache are left alone. Other mounted files (`model.attached_weights`) and a mounted Kaggle Model are
    found where they are (`model.encoder_weights`).

    Returns:
        The names of the files now in the cache, and of the mounted models.
    """
    # They need packages that `libraries.install` may still have to install.
    from pneumothorax.model.encoders import attached_weights, weights

    cache = weights.keras_cache()
    offered = []
    for path in attached_weights.list_attached():
        offered.append(path.name)
        if not attached_weights.is_of_keras(path.name):
            continue
        link = cache / path.name
        if link.is_symlink() and not link.exists():  # of an input that is attached no more
            link.unlink()
        if not link.exists():
            cache.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    root = mounts.input_root()
    models = [folder.relative_to(root).as_posix() for folder in weights.list_models()]
    return sorted(set(offered)) + models


def make_workspace(competition: str, datasets: Sequence[str] = (), *, keep_runs: bool = False) -> Workspace:
    """Make a workspace with the session's inputs as raw data.

    The rest, such as the caches, lies in a temporary folder that ends with the session.

    Args:
        competition: Slug of the competition.
        datasets: Further sources of images, each ``owner/slug``.
        keep_runs: Whether the runs belong to the notebook's output, in ``runs`` of the working folder.

    Raises:
        UserError: One of them is not mounted.
    """
    sources = [mounts.find_competition(competition), *map(mounts.find_dataset, datasets)]
    workspace = Workspace(Path(tempfile.mkdtemp(prefix="workspace-")))
    workspace.raw.mkdir(parents=True)
    for number, source in enumerate(sources):
        (workspace.raw / f"{number}-{source.name}").symlink_to(source)
    if keep_runs:
        kept = mounts.working() / "runs"
        kept.mkdir(parents=True, exist_ok=True)
        workspace.runs.symlink_to(kept)
    else:
        workspace.runs.mkdir()
    return workspace


def gather_runs(notebooks: Sequence[str], workspace: Workspace, run: str = "") -> list[Path]:
    """Copy the folds that other notebooks, or this one's earlier versions, left in their outputs.

    Args:
        notebooks: Each ``owner/slug``; if empty, every input that holds runs.
        workspace: Workspace that receives the runs.
        run: The run that must be among them, if there is any; '' for any.

    Returns:
        The folders of the folds.

    Raises:
        UserError: A notebook is not mounted or holds no run, or another one, or folds of one name differ.
    """
    from pneumothorax.training.import_runs import gather_folds

    gathered = []
    for output in map(mounts.find_notebook, notebooks):
        if not (folds := gather_folds(output, workspace.runs)):
            raise UserError(f"no runs/<run>/fold<k> in {output}", "the output of a train notebook")
        gathered += folds
    for output in [] if notebooks else mounts.list_mounts():
        if (output / "runs").is_dir():
            gathered += gather_folds(output, workspace.runs)
    found = sorted({fold.parent.name for fold in gathered})
    if run and found and run not in found:  # it would start again, and lose the hours of the last version
        raise UserError(
            f"the attached outputs hold the runs {', '.join(found)}",
            f"the run {run}",
            "set RUN, RECIPE and FLAGS as they were, or detach the outputs",
        )
    return sorted(set(gathered))


def find_run(name: str, workspace: Workspace) -> Path:
    """Return the folder of a run; of the only one where the name is ''.

    Raises:
        UserError: There is no such run, or several to choose from.
    """
    there = sorted(path.name for path in workspace.runs.iterdir() if path.is_dir())
    if name in there or (not name and len(there) == 1):
        return workspace.runs / (name or there[0])
    raise UserError(
        f"{'run ' + name if name else f'{len(there)} runs'} (there: {', '.join(there) or 'none'})",
        "one trained run",
        "attach the output of a train notebook, and name the run in RUN where there are several",
    )


def list_unfinished(run: Path) -> list[str]:
    """Name the unfinished folds of a run, with the epochs done."""
    from pneumothorax.training.fold_folder import FoldFolder
    from pneumothorax.training.state import load_state

    states = {path.name: load_state(FoldFolder(path), with_variables=False) for path in run.glob("fold*")}
    return [
        f"{name} ({state.epoch if state else 0} epochs)"
        for name, state in sorted(states.items())
        if state is None or not state.finished
    ]
