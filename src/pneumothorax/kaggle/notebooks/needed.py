"""List the files of the package that a notebook needs: the imports of its source and of its commands.

Read from the source; nothing is imported. A command is a function ``name(options) -> int``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from pneumothorax import source

PACKAGE = "pneumothorax"
ENTRY = Path("cli.py")
COMMANDS = "commands"  # the folder of the commands
CALLS = ("pneumothorax", "main")  # functions of a notebook's source that run a command


def find_needed(text: str, folder: Path = source.FOLDER) -> list[Path]:
    """List the files of the package that a notebook needs, in reading order.

    Args:
        text: The notebook's source, Python.
        folder: Folder of the package.
    """
    files = source.list_files(folder)
    trees = {path: ast.parse((folder / path).read_bytes()) for path in files if path.suffix == ".py"}
    notebook = ast.parse(text)
    called = set(_called(notebook))
    homes = [
        path
        for path, tree in trees.items()
        if path.parts[0] == COMMANDS
        if any(isinstance(node, ast.FunctionDef) and _names(node, called) for node in tree.body)
    ]
    needed: set[Path] = set()
    todo = [ENTRY, *homes, *_imported(notebook, called, trees)]
    while todo:
        path = todo.pop()
        if path not in needed:
            needed.add(path)
            todo += _imported(trees[path], called, trees)
            todo += [init for parent in path.parents if (init := parent / "__init__.py") in trees]
    folders = {path.parent for path in needed}
    return [
        path
        for path in files
        if path in needed or (path.suffix != ".py" and folders.intersection(path.parents[:-1]))
    ]


def _called(tree: ast.AST) -> Iterator[str]:
    """Yield the commands that a notebook calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            words = node.args[0].elts if node.args and isinstance(node.args[0], ast.List) else node.args
            yield from (str(word.value) for word in words[:1] if isinstance(word, ast.Constant))


def _imported(tree: ast.AST, called: set[str], trees: dict[Path, ast.Module]) -> Iterator[Path]:
    """Yield the package's files that a tree imports, without those of commands that are not called."""
    if isinstance(tree, ast.FunctionDef) and _is_command(tree) and not _names(tree, called):
        return
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return  # for type checkers alone
    if isinstance(tree, ast.Import):
        yield from (found for name in tree.names for found in _files(name.name, trees))
    elif isinstance(tree, ast.ImportFrom):
        for name in tree.names:
            yield from _files(f"{tree.module}.{name.name}", trees)
    for part in ast.iter_child_nodes(tree):
        yield from _imported(part, called, trees)


def _files(name: str, trees: dict[Path, ast.Module]) -> Iterator[Path]:
    """Yield the file of a module of the package, or of the module that a name belongs to."""
    first, *parts = name.split(".")
    if first != PACKAGE:
        return
    yield Path("__init__.py")
    for end in (len(parts), len(parts) - 1):
        path = Path(*parts[:end])
        for found in (Path(f"{path}.py"), path / "__init__.py"):
            if found in trees:
                yield found
                return


def _is_command(function: ast.FunctionDef) -> bool:
    """Return whether a function takes the options of the command line and returns the exit code."""
    names = [part.arg for part in function.args.args]
    return names == ["options"] and isinstance(function.returns, ast.Name) and function.returns.id == "int"


def _names(function: ast.FunctionDef, called: set[str]) -> bool:
    """Return whether a function is one of the commands that are called."""
    return _is_command(function) and function.name.strip("_").replace("_", "-") in called
