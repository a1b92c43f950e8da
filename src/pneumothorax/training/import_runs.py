"""Import run folders that were trained elsewhere into the runs of this workspace."""

import shutil
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.recipe import differences
from pneumothorax.training.fold_folder import FoldFolder, read_recipe
from pneumothorax.training.state import load_state
from pneumothorax.workspace import replace_folder, restore_folder


def gather_folds(source: Path, runs: Path) -> list[Path]:
    """Copy every fold below ``<source>/**/runs/<run>/fold<k>/`` to ``<runs>/<run>/fold<k>/``.

    A fold appears when it is complete. An existing one is left alone if it holds all of the
    newcomer's training, and replaced if the newcomer continues it.

    Args:
        source: The output of a notebook, or any folder that holds such outputs.
        runs: The workspace's runs.

    Returns:
        The folders that were copied or were there already, in order of run and fold.

    Raises:
        UserError: A fold exists with other training in it, or one run has two recipes.
    """
    gathered = []
    for recipe in sorted(source.rglob("runs/*/fold*/recipe.json")):
        found = recipe.parent
        target = runs / found.parent.name / found.name
        _check_recipe(found, target.parent)
        if not restore_folder(target).is_dir() or _continues(found, target):
            with replace_folder(target) as new:
                shutil.copytree(found, new, dirs_exist_ok=True)
        gathered.append(target)
    return sorted(set(gathered))


def _check_recipe(found: Path, run: Path) -> None:
    """Make sure that a run keeps one recipe."""
    for sibling in sorted(run.glob("fold*/recipe.json")):
        before, after = read_recipe(FoldFolder(sibling.parent)), read_recipe(FoldFolder(found))
        if changed := differences(before, after):
            raise UserError(
                f"{found} was trained by another recipe than {sibling.parent} ({'; '.join(changed)})",
                "the same recipe in all folds of a run",
                f"move {run} away",
            )


def _history(fold: Path) -> list[str]:
    """Return the epochs that a fold has seen, as text, without the seconds they took."""
    state = load_state(FoldFolder(fold), with_variables=False)
    rows = state.history if state is not None else []
    return [str({name: value for name, value in row.items() if name != "seconds"}) for row in rows]


def _continues(found: Path, target: Path) -> bool:
    """Return whether a newcomer continues our training; False if ours holds all of it."""
    ours, theirs = _history(target), _history(found)
    if ours[: len(theirs)] == theirs:
        return False
    if theirs[: len(ours)] == ours:
        return True
    raise UserError(
        f"{target} holds another training ({len(ours)} epochs) than {found} ({len(theirs)})",
        "the same fold, or one that continues it",
        f"move {target} away; nothing was changed",
    )
