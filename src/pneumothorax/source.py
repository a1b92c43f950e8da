"""The package's own source: its files in reading order, a digest of them, and the commit they come from.

Notebooks carry the source with them and state its digest; so a run's notebook names the code that ran.
"""

import ast
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
GIT_SECONDS = 10
SUFFIXES = (".py", ".html", ".css", ".js")  # Python, and the pages' own sources
# Parts that no notebook runs, for Kaggle takes no large one: the artificial competition, pushing, and
# the commands for one's own radiographs and for export.
AT_HOME = (
    *("phantom", "segmentation", "exporting", "app", "hubs", "publishing", "library.py"),
    *("kaggle/download", "kaggle/polling.py", "kaggle/submitting.py"),
    *("kaggle/notebooks/dependencies.py", "kaggle/notebooks/embedded_package.py"),
    *("kaggle/notebooks/kernels.py", "kaggle/notebooks/metadata.py", "kaggle/notebooks/needed.py"),
    *("kaggle/notebooks/notebook.py", "kaggle/notebooks/outputs.py", "kaggle/notebooks/preflight.py"),
    *("commands/app.py", "commands/exporting.py", "commands/kernels.py", "commands/networks.py"),
    *("commands/publishing.py", "commands/segmenting.py"),
    *("inference/batching.py", "inference/model_file.py", "inference/networks.py", "inference/plan.py"),
    *("inference/onnx_networks.py", "inference/predictor.py"),
)
COMMIT_VARIABLE = "PNEUMOTHORAX_COMMIT"
# The road that a newcomer walks; imports go up it only, never down (pyproject.toml has the contract).
LAYERS = (
    *("__init__", "errors", "closed_pipe", "interrupts", "loss_text", "locks", "leftovers", "legs"),
    *("recipe_fields", "recipe_checks", "recipe", "workspace"),
    *("source", "mounts", "metric", "recipes"),
    *("data", "model", "training", "inference", "submission", "kaggle", "report"),
    *("hubs", "phantom", "explore", "segmentation", "exporting", "app", "library", "publishing"),
    *("flag_types", "parser", "flags", "commands", "cli"),
)


def list_files(folder: Path = FOLDER) -> list[Path]:
    """List the package's files, relative to its folder, in the order in which a newcomer reads them.

    That is the order of the layers: errors first, the command line last. Within a folder ``__init__.py``
    comes first and every other file after those that it imports; the rest goes by the alphabet. Parts that no
    notebook needs (`AT_HOME`) are left out.
    """
    found = [path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    python = [path for path in found if path.suffix == ".py"]
    needs = dict.fromkeys((path.relative_to(folder) for path in found), frozenset[str]())
    needs |= {path.relative_to(folder): _imports(path.read_bytes(), folder.name) for path in python}
    return _arrange(Path(), {path: names for path, names in needs.items() if not _is_left_out(path)})


def read_files(folder: Path = FOLDER) -> dict[Path, bytes]:
    """Read the package's files, in the order of `list_files`."""
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


def digest(folder: Path = FOLDER) -> str:
    """Digest the names and contents of the files of `list_files`, as 12 hexadecimal digits."""
    return digest_files(read_files(folder))


def digest_files(files: Mapping[Path, bytes]) -> str:
    """Digest names and contents, in whatever order they come, as 12 hexadecimal digits."""
    total = hashlib.sha256()
    for path in sorted(files, key=Path.as_posix):
        total.update(f"{path.as_posix()}\0{len(files[path])}\0".encode() + files[path])
    return total.hexdigest()[:12]


def find_commit(folder: Path = FOLDER) -> str:
    """Name the git commit that the package lies in, with ``+changes`` where its files differ from it.

    Returns:
        Such as ``0a1b2c3`` or ``0a1b2c3+changes``; the value of ``$PNEUMOTHORAX_COMMIT`` (a notebook sets it)
        outside a checkout, where git is missing, or where the surrounding repository does not track the
        package; '' where it says nothing.
    """
    # `git describe --dirty` would see no new file, and name the repository around a virtual environment.
    status = ("status", "--porcelain=v2", "--branch", "--ignored", "-uall", "--", ".")
    lines = _git(folder, "-c", "status.relativePaths=true", *status)
    commit = next((line.split()[2][:7] for line in lines if line.startswith("# branch.oid ")), "")
    changed = [line for line in lines if line[0] not in "#!"]
    is_tracked = not {"? __init__.py", "! __init__.py"} & {*lines}
    if not is_tracked or not commit or commit.startswith("("):  # "(initial)"
        return os.environ.get(COMMIT_VARIABLE, "")
    return commit + "+changes" * bool(changed)


def _is_left_out(path: Path) -> bool:
    return any(map(path.is_relative_to, AT_HOME)) or any(
        part.startswith((".", "__pycache__")) for part in path.parts
    )


def _arrange(folder: Path, needs: dict[Path, frozenset[str]]) -> list[Path]:
    """Arrange the files below a folder; `needs` holds the modules that each file imports."""
    depth = len(folder.parts)
    groups: dict[str, dict[Path, frozenset[str]]] = {}
    for path, names in needs.items():
        groups.setdefault(path.with_suffix("").parts[depth], {})[path] = names
    prefix = "".join(f"{part}." for part in folder.parts)
    wants = {
        name: {
            word.removeprefix(prefix).split(".")[0]
            for word in frozenset[str]().union(*group.values())
            if word.startswith(prefix)
        }
        for name, group in groups.items()
    }
    arranged: list[Path] = []
    for name in _order(wants) if depth else sorted(wants, key=_rank):
        group = groups[name]
        is_folder = any(len(path.parts) > depth + 1 for path in group)
        arranged += _arrange(folder / name, group) if is_folder else list(group)
    return arranged


def _rank(name: str) -> tuple[int, str]:
    """Place a module or folder of the top level; one that is in no layer yet reads like a command."""
    return LAYERS.index(name if name in LAYERS else "commands"), name


def _order(wants: dict[str, set[str]]) -> list[str]:
    """Order names so that each follows those it wants; where some want each other, all by the alphabet."""
    first = wants.keys() & {"__init__"}
    needs = {name: (wants[name] & wants.keys() | first) - {name} for name in wants.keys() - first}
    try:
        return list(TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)}).static_order())
    except CycleError:
        return sorted(wants)


@lru_cache(maxsize=1024)  # three notebooks are built of the same files
def _imports(content: bytes, package: str) -> frozenset[str]:
    """Return the modules of the package that a Python file imports, such as ``data.rle``."""
    found: set[str] = set()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # being edited; it takes its place by the alphabet
        return frozenset()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return frozenset(name.removeprefix(f"{package}.") for name in found if name.startswith(f"{package}."))


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all statements of a module; ten times as fast as `ast.walk`, which yields expressions as well."""
    todo: list[ast.AST] = [*tree.body]
    while todo:
        yield (node := todo.pop())
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            todo += getattr(node, name, ())


def _git(folder: Path, *words: str) -> list[str]:
    """Return the lines that git prints about a folder; none where it fails."""
    # A hook's own variables would lead git to another repository than the folder's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ended = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    return ended.stdout.splitlines()
