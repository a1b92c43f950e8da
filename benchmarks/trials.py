"""Shared by the benches that train: commands of the package, intervals, and the table in the docs."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from pneumothorax.errors import UserError
from pneumothorax.inference.tuning import bootstrap

DRAWS = 500  # of patients, for the interval of an area under the curve


@dataclass(frozen=True)
class Trial:
    """One row: a way to train.

    Attributes:
        name: Of the run.
        text: Its name in the table.
        recipe: Name of the recipe that it begins from.
        changes: Fields that differ from it.
        base: Name of the row that it is compared with, image by image.
        on_request: Trained only if --only names it.
    """

    name: str
    text: str
    recipe: str
    changes: dict[str, object] = field(default_factory=dict)
    base: str = ""
    on_request: bool = False


def run_command(root: Path, *words: str, each: tuple[str, ...] = ("",)) -> None:
    """Run one command of the package, once for each of some last words, all of these side by side.

    Raises:
        SystemExit: One of them failed; it has said why.
    """
    program = "import sys; from pneumothorax.cli import main; sys.exit(main(sys.argv[1:]))"
    running = []
    for last in each:
        line = [*words, *([last] if last else []), "--root", str(root)]
        print("$ pneumothorax", *line, file=sys.stderr, flush=True)
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        running.append(
            subprocess.Popen([sys.executable, "-c", program, *line], stdout=sys.stderr, env=environment)
        )
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"`pneumothorax {' '.join(words)}` failed")


def flags(fields: Mapping[str, object]) -> list[str]:
    """Write fields of a recipe as flags of the command line."""
    words = []
    for name, value in fields.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return words


def interval(values: np.ndarray, patients: np.ndarray, *, signed: bool = False) -> str:
    """Write a mean with its 95 % interval over patients; '-' where there is no value."""
    if not len(values):
        return "-"
    low, high = bootstrap(values, patients)
    sign = "+" if signed else ""
    return f"{values.mean():{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def auc_interval(positive: np.ndarray, scores: np.ndarray | None, patients: np.ndarray) -> str:
    """Write the area under the ROC curve with its 95 % interval over patients.

    Args:
        positive: Which images show a pneumothorax, bool of shape (N,).
        scores: Higher where one is likelier, shape (N,); None where there is no score.
        patients: Whose image each is, shape (N,).

    Returns:
        '-' without scores, or where all images are of one kind.
    """
    if scores is None or positive.all() or not positive.any():
        return "-"
    names, codes = np.unique(patients, return_inverse=True)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        weights = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))[codes]
        if weights[positive].any() and weights[~positive].any():  # of few patients, a draw may miss a kind
            drawn.append(roc_auc_score(positive, scores, sample_weight=weights))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{roc_auc_score(positive, scores):.3f} [{low:.3f}, {high:.3f}]"


def put_between(path: Path, mark: str, table: str) -> None:
    """Put a table into a file, in the place of the one between two marks.

    Raises:
        UserError: The file has not both marks.
    """
    before, after = text_around(path, mark)
    path.write_text(f"{before}{mark}\n{table}\n{mark}{after}", encoding="utf-8")


def text_around(path: Path, mark: str) -> tuple[str, str]:
    """Return the text of a file before the first and after the second of two marks.

    Raises:
        UserError: The file has not both marks.
    """
    parts = path.read_text(encoding="utf-8").split(mark) if path.is_file() else [""]
    if len(parts) != 3:
        raise UserError(
            f"{path} with {len(parts) - 1} marks {mark}", "two marks, with the table between them"
        )
    return parts[0], parts[2]
