"""A notebook's source, in jupytext's percent format, and the package -> the one .ipynb file that Kaggle runs.

Kaggle uploads a single file, so the package travels in it, as readable ``%%writefile`` cells. The same
input gives the same bytes: a committed notebook can be compared with a fresh one. Runs nothing.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jupytext

from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks import metadata
from pneumothorax.kaggle.notebooks.embedded_package import Cell, carry, make_cell
from pneumothorax.kaggle.notebooks.needed import find_needed
from pneumothorax.workspace import atomic

LIMIT_BYTES = 950_000  # Kaggle refuses a source of a megabyte; 50,000 are for what it may add
PARAMETERS, PACKAGE = "parameters", "package"  # tags of two cells of the source

# Kaggle runs a notebook by papermill, which refuses one that does not name its kernel.
_KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build(source: Path, *, parameters: Mapping[str, object] | None = None, commit: str = "") -> bytes:
    """Build a notebook that carries the package.

    The package comes after the cell tagged ``package``.

    Args:
        source: The notebook's percent-format ``.py`` file.
        parameters: Values to put in place of those in the cell tagged ``parameters``, by name.
        commit: Stated in the notebook; '' in a committed one, since a commit cannot hold its own name.

    Returns:
        The .ipynb file (nbformat 4.5), without outputs.

    Raises:
        UserError: There is no source, it lacks a tagged cell, a parameter is unknown or of another type, or
            the notebook is too large for Kaggle.
    """
    cells = _read(source)
    if parameters:
        cell = cells[_find(cells, PARAMETERS, source)]
        cell["source"] = _replace(cell["source"], parameters, source)
    place = _find(cells, PACKAGE, source) + 1
    cells[place:place] = carry(commit, find_needed(source.read_text(encoding="utf-8")))
    notebook = {"cells": _number(cells), "metadata": _KERNEL, "nbformat": 4, "nbformat_minor": 5}
    if (size := _count_uploaded(notebook)) > LIMIT_BYTES:
        raise UserError(
            f"the notebook of {source} has {size:,} bytes",
            f"at most {LIMIT_BYTES:,}, since Kaggle takes less than a megabyte",
            "shorten the source; data belong into a dataset",
        )
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    return text.encode("utf-8")


def read_parameters(source: Path) -> dict[str, object]:
    """Return the parameters of a notebook with the values that its source gives them.

    Args:
        source: The notebook's percent-format ``.py`` file.
    """
    cells = _read(source)
    known = _assignments(cells[_find(cells, PARAMETERS, source)]["source"])
    return {name: ast.literal_eval(value) for name, value in known.items()}


def read_values(source: Path, texts: Mapping[str, str]) -> dict[str, object]:
    """Read parameters that were given as text, each as the type that it has in the notebook.

    Args:
        source: The notebook's percent-format ``.py`` file.
        texts: Text by name: a number, true or false, any text, or a list as words between commas.

    Raises:
        UserError: There is no such parameter, or the text is of another type.
    """
    cells = _read(source)
    known = _assignments(cells[_find(cells, PARAMETERS, source)]["source"])
    values: dict[str, object] = {}
    for name, text in texts.items():
        if name not in known:
            raise UserError(f"parameter {name!r} of {source}", f"one of {', '.join(known)}")
        old = ast.literal_eval(known[name])
        try:
            values[name] = _read_value(text, old)
        except ValueError:
            raise UserError(f"parameter {name}={text}", f"a {type(old).__name__}, such as {old!r}") from None
    return values


def write(folder: Path) -> Path:
    """Write the notebook of a kernel's folder from the ``.py`` file of the same name; returns its path.

    Raises:
        UserError: See `build`; or there is no metadata.
    """
    path = _path(folder)
    content = build(path.with_suffix(".py"))
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return path


def is_stale(folder: Path) -> bool:
    """Return whether the notebook in a kernel's folder is missing, or differs from its sources.

    Raises:
        UserError: See `build`; or there is no metadata.
    """
    path = _path(folder)
    return not path.is_file() or path.read_bytes() != build(path.with_suffix(".py"))


def _count_uploaded(notebook: Mapping[str, Any]) -> int:
    """Count the bytes that Kaggle's client sends of a notebook: it writes the JSON without indentation."""
    return len(json.dumps(notebook).encode("utf-8"))


def _path(folder: Path) -> Path:
    return folder / str(metadata.read(folder).get("code_file", ""))


def _read(source: Path) -> list[Cell]:
    """Read the cells of a percent-format file."""
    if not source.is_file():
        raise UserError(f"no {source}", "the source of a notebook, in jupytext's percent format")
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    return [make_cell(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def _find(cells: list[Cell], tag: str, source: Path) -> int:
    places = [at for at, cell in enumerate(cells) if tag in cell["metadata"].get("tags", ())]
    if len(places) != 1:
        raise UserError(f"{len(places)} cells tagged {tag!r} in {source}", f'one: # %% tags=["{tag}"]')
    return places[0]


def _replace(text: str, parameters: Mapping[str, object], source: Path) -> str:
    """Put new values into the assignments of a cell; its comments stay."""
    known = _assignments(text)
    lines = text.splitlines(keepends=True)
    for name, value in parameters.items():
        if name not in known:
            raise UserError(f"parameter {name!r} of {source}", f"one of {', '.join(known)}")
        _check_value(name, ast.literal_eval(known[name]), value, source)
    for name in sorted(parameters, key=lambda name: known[name].lineno, reverse=True):
        node = known[name]
        last = node.end_lineno or node.lineno
        before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
        after = lines[last - 1].encode()[node.end_col_offset :].decode()
        lines[node.lineno - 1 : last] = [f"{before}{parameters[name]!r}{after}"]
    return "".join(lines)


def _assignments(text: str) -> dict[str, ast.expr]:
    """Return the values of a cell's parameters, by name."""
    return {
        statement.targets[0].id: statement.value
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


def _read_value(text: str, old: object) -> object:
    """Read a text as the type of the value that it replaces."""
    if isinstance(old, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(old, int):
        return int(text)
    if isinstance(old, float):
        return float(text)
    return [word for word in text.split(",") if word] if isinstance(old, list) else text


def _check_value(name: str, old: object, new: object, source: Path) -> None:
    """Check that a parameter keeps its type; a whole number serves for a fraction."""
    alike = type(new) is type(old) or (type(old) is float and type(new) is int)
    try:
        literal = ast.literal_eval(repr(new)) == new
    except (ValueError, SyntaxError):
        literal = False
    if not alike or not literal:
        raise UserError(f"parameter {name} = {new!r} of {source}", f"a {type(old).__name__}, such as {old!r}")


def _number(cells: Iterable[Cell]) -> list[Cell]:
    """Give every cell an id that depends on its content."""
    seen: dict[str, int] = {}
    numbered = []
    for cell in cells:
        name = hashlib.sha256(f"{cell['cell_type']}\0{cell['source']}".encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        again = f"-{seen[name]}" if seen[name] > 1 else ""
        numbered.append({**cell, "id": name + again})
    return numbered
