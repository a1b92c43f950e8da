"""The package as cells of a notebook: they write it file by file, put it first on the path and check it.

Every file comes out exactly as it went in, and is readable in its cell.
"""

import ast
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pneumothorax import __version__, source

Cell = dict[str, Any]

_FOLDED = {"jupyter": {"source_hidden": True}, "_kg_hide-input": True, "_kg_hide-output": True}

_BEGIN = """\
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TQDM_MININTERVAL", "10")  # seconds; a notebook's log keeps every state of a bar
# Not in the working folder: files there are kept as the notebook's output.
carried = Path(tempfile.mkdtemp(prefix="source-"))
for folder in {folders}:
    (carried / "pneumothorax" / folder).mkdir()
"""
_END = """\
version, digest, commit = {stated}

for name in [name for name in sys.modules if name.partition(".")[0] == "pneumothorax"]:
    del sys.modules[name]  # of an earlier run of these cells
sys.path.insert(0, str(carried))  # worker processes take it over from here, commands from PYTHONPATH
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(carried), os.environ.get("PYTHONPATH")]))

from pneumothorax import source

os.environ[source.COMMIT_VARIABLE] = commit  # for the record of a submission
print(f"pneumothorax {{version}}, source {{source.digest()}}, commit {{commit or 'not stated'}}")
print(f"imported from {{source.FOLDER}}")
if digest not in (None, source.digest()):
    raise RuntimeError(
        f"the cells above wrote source {{source.digest()}} and not {{digest}}: they were changed or damaged; "
        "take the notebook again, or write digest = None if you changed them on purpose"
    )
"""


def make_cell(kind: str, text: str, about: Mapping[str, Any] | None = None) -> Cell:
    """Make a cell of nbformat, without an id; `kind` is 'code' or 'markdown'."""
    cell: Cell = {"cell_type": kind, "metadata": dict(about or {}), "source": text}
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell


def carry(commit: str, needed: Collection[Path]) -> list[Cell]:
    """Make the cells that write the package, put it first on the path and check it.

    Args:
        commit: Stated in the last of them; '' if it is not known.
        needed: The files that the notebook needs, relative to the package's folder.
    """
    files = {path: content for path, content in source.read_files().items() if path in needed}
    folders = ["", *sorted({path.parent.as_posix() for path in files} - {"."})]
    cells = [make_cell("code", _BEGIN.format(folders=json.dumps(folders)).strip(), _FOLDED)]
    heading = ""
    for path, content in files.items():
        group = path.parts[0] if len(path.parts) > 1 else "pneumothorax"
        if group != heading:
            cells.append(make_cell("markdown", _heading(group, path, content)))
            heading = group
        cells.append(make_cell("code", write_cell(path.as_posix(), content.decode("utf-8")), _FOLDED))
    stated = f'"{__version__}", "{source.digest_files(files)}", {commit!r}'
    return [*cells, make_cell("code", _END.format(stated=stated).strip(), _FOLDED)]


def _heading(group: str, first: Path, content: bytes) -> str:
    """Return the heading of a layer, with the purpose from the docstring of its first file."""
    purpose = (ast.get_docstring(ast.parse(content)) or "").splitlines()[:1]
    return "\n".join([f"### `{group}/`" if len(first.parts) > 1 else f"### `{first.name}`", *purpose])


def write_cell(name: str, text: str) -> str:
    """Return the source of a cell that writes a file of the package, exactly.

    Args:
        name: The file's path in the package, such as ``data/rle.py``.
        text: Content of the file.
    """
    if _survives(text):
        return f'%%writefile "{{carried}}/pneumothorax/{name}"\n{text[:-1]}'
    lines = "\n".join(f"    {line.encode()!a}" for line in text.splitlines(keepends=True)) or '    b""'
    return f'_ = (carried / "pneumothorax" / "{name}").write_bytes(\n{lines}\n)'


def _survives(text: str) -> bool:
    """Return whether a text survives a ``%%writefile`` cell unchanged.

    IPython strips anything that looks like a prompt and ensures one newline at the end; editors and JSON
    tools in between may change white space at the end and unusual line ends.
    """
    lines = text.splitlines()
    return (
        lines == text.split("\n")[:-1]
        and all(line.isprintable() or line.expandtabs().isprintable() for line in lines)
        and any(lines)
        and bool(lines[0].strip() and lines[-1].strip())
        and not any(re.match(r"\s*(>>>|\.\.\.|In ?\[)", line) for line in lines)
    )
