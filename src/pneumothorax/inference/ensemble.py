"""Runs -> an ensemble: a run folder that holds the weighted mean of other runs' probabilities.

``ensemble.json`` names the members; ``out_of_fold`` and ``predictions/<set>`` are those of a trained run too,
so that all that follows reads either.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pneumothorax.errors import UserError, warn
from pneumothorax.inference.averaging import Source, average, check_agreement
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.recipes import describe
from pneumothorax.training.fold_folder import fold_folders, read_recipe
from pneumothorax.training.provenance import digest_note, read_note, write_note
from pneumothorax.training.run import find_folds
from pneumothorax.workspace import reading, replace_folder, write_text

OUT_OF_FOLD = "out_of_fold"


@dataclass(frozen=True)
class Member:
    """A run of an ensemble.

    Attributes:
        run: Its name.
        weight: Above 0; the weights need not sum to 1.
        recipe: How it was trained, in one line.
    """

    run: str
    weight: float
    recipe: str

    def __post_init__(self) -> None:
        if not isinstance(self.run, str) or not isinstance(self.recipe, str):
            raise TypeError("a member whose name or recipe is no text")
        if type(self.weight) not in (int, float) or not 0 < self.weight < math.inf:
            raise UserError(f"weight {self.weight!r} of {self.run}", "weights above 0")


def describe_members(members: Sequence[Member]) -> str:
    """Name an ensemble in one line, for the ledger."""
    return "mean of " + ", ".join(f"{one.weight:g} x {one.run}: {one.recipe}" for one in members)


def read_ensemble(run: Path) -> list[Member] | None:
    """Return the members of an ensemble; None where the folder is a trained run, or none at all.

    Raises:
        UserError: ensemble.json is damaged, or the folder is a trained run as well.
    """
    path = run / "ensemble.json"
    if not path.is_file():
        return None
    if any(run.glob("fold*")):
        raise UserError(
            f"{run} holds an ensemble and trained folds", "one of them", "move the folds to another run"
        )
    with reading(path, "ensemble", "ensemble", "run `pneumothorax ensemble` again"):
        members = [Member(**values) for values in json.loads(path.read_text(encoding="utf-8"))["members"]]
        if not members:
            raise UserError("without members", "runs with weights above 0")
    return members


def refuse_ensemble(run: Path, expected: str, remedy: str) -> None:
    """Make sure that a folder is no ensemble of other runs.

    Raises:
        UserError: It is one.
    """
    if members := read_ensemble(run):
        names = ", ".join(one.run for one in members)
        raise UserError(f"{run} is an ensemble of {names}", expected, remedy)


def out_of_fold_parts(run: Path) -> list[Predictions]:
    """Open the out-of-fold probabilities of a run: of each fold, or of an ensemble in one part.

    Raises:
        UserError: There are none, or they are of several sizes, or only some have a classification head.
    """
    if read_ensemble(run) is not None:
        return [read_predictions(run / OUT_OF_FOLD)]
    parts = [read_predictions(fold.out_of_fold) for fold in find_folds(run)]
    check_alike(run, parts)
    return parts


def check_alike(run: Path, parts: Sequence[Predictions]) -> None:
    """Check that a run's folds have maps of one size, and all a classification head or none.

    Raises:
        UserError: They differ.
    """
    sizes = sorted({part.probabilities.shape[1] for part in parts})
    silent = [part.folder.parent.name for part in parts if part.image_probability is None]
    if len(sizes) > 1:
        found = f"folds of {' and '.join(map(str, sizes))} pixels in {run}"
    elif 0 < len(silent) < len(parts):
        found = f"{', '.join(silent)} without a classification head, and folds with one, in {run}"
    else:
        return
    raise UserError(
        found,
        "one recipe in all folds of a run",
        "move those of another to a run of their own; `pneumothorax ensemble` averages runs",
    )


def make_ensemble(run: Path, weights: Mapping[str, float], sets: Sequence[str] | None) -> dict[str, int]:
    """Make an ensemble's folder; it appears, or replaces an older ensemble, when it is complete.

    Args:
        run: The new folder, beside those of its members.
        weights: Of the members, by the name of their runs.
        sets: Which predictions to average; None takes 'test' if all members have it.

    Returns:
        Number of images out of fold and of each set, by its name.

    Raises:
        UserError: A run would be overwritten, or the members do not agree; nothing was written then.
    """
    _refuse_old(run, weights)
    folders = [run.parent / name for name in weights]
    found = {OUT_OF_FOLD: [out_of_fold_parts(folder) for folder in folders]}
    for name in _common_sets(folders) if sets is None else sets:
        found[name] = [[read_predictions(folder / "predictions" / name)] for folder in folders]
    members = [
        Member(folder.name, weight, _recipe_of(folder))
        for folder, weight in zip(folders, weights.values(), strict=True)
    ]
    sources = {
        name: [Source(one.run, one.weight, ours) for one, ours in zip(members, parts, strict=True)]
        for name, parts in found.items()
    }
    for name, of_set in sources.items():
        remedy = "train its other folds" if name == OUT_OF_FOLD else "let it predict the same images"
        check_agreement(of_set, name, remedy)
    with replace_folder(run) as build:  # its decision goes too: it was tuned to other probabilities
        for name, of_set in sources.items():
            folder = build / name if name == OUT_OF_FOLD else build / "predictions" / name
            average(of_set, folder)
            digests = {
                _place(part.folder, run.parent): digest_note(part.folder)
                for one in of_set
                for part in one.parts
            }
            if None not in digests.values():
                write_note(folder, {place: str(digest) for place, digest in digests.items()})
        text = json.dumps({"members": [asdict(one) for one in members]}, indent=2)
        write_text(build / "ensemble.json", text + "\n")
    return {name: len(of_set[0].studies) for name, of_set in sources.items()}


def changed_members(run: Path, folder: Path, members: Sequence[Member]) -> list[str]:
    """Name the members of an ensemble that predict otherwise than when it was made.

    Args:
        run: The ensemble's folder.
        folder: Its predictions of a set.
        members: Its members.
    """
    notes = [read_note(table) for table in (folder / "studies.csv", run / OUT_OF_FOLD / "studies.csv")]
    noted = {place: digest for note in notes for place, digest in (note or {}).items()}
    made = (run / "ensemble.json").stat().st_mtime_ns
    changed = []
    for name in (one.run for one in members):
        member = run.parent / name
        folders = [member / "predictions" / folder.name, member / OUT_OF_FOLD]
        folders += [fold.out_of_fold for fold in fold_folders(member)]
        for one in folders:
            table, place = one / "studies.csv", _place(one, run.parent)
            if not table.is_file():
                continue
            by_time = place not in noted and None in notes  # of an older version
            if table.stat().st_mtime_ns > made if by_time else digest_note(one) != noted.get(place):
                changed.append(name)
    return list(dict.fromkeys(changed))


def _place(folder: Path, runs: Path) -> str:
    """Name a folder of a run's probabilities: 'seed/fold0/out_of_fold'."""
    return folder.relative_to(runs).as_posix()


def _refuse_old(run: Path, weights: Mapping[str, float]) -> None:
    """Refuse to overwrite a run that is no ensemble, and to average a run with itself."""
    if run.name in weights:
        raise UserError(f"run {run.name} as a member of itself", "a new name", "choose another --run")
    if any(run.glob("fold*")):
        raise UserError(
            f"{run} holds trained folds", "a new name, or an older ensemble", "choose another --run"
        )
    if run.exists() and not (run / "ensemble.json").is_file() and (run.is_file() or any(run.iterdir())):
        raise UserError(f"{run} is no ensemble", "a new name, or an older ensemble", "choose another --run")


def _recipe_of(run: Path) -> str:
    """Describe how a member was trained."""
    members = read_ensemble(run)
    return describe(read_recipe(find_folds(run)[0])) if members is None else describe_members(members)


def _common_sets(folders: Sequence[Path]) -> list[str]:
    """Return ['test'] if all runs have predicted it; warn if only some have."""
    lacking = [folder.name for folder in folders if not (folder / "predictions" / "test").is_dir()]
    if lacking and len(lacking) < len(folders):
        warn(f"{', '.join(lacking)} has not predicted the test set: the ensemble has none to submit")
    return [] if lacking else ["test"]
