"""Measures of the source: modules, functions, repeated names, notebooks, and two habits of English.

    python benchmarks/house.py

Prose is docstrings, comments, texts with a space in them, and the Markdown files without their code.
"""

import ast
import io
import re
import statistics
import subprocess
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pneumothorax"
LONG_FUNCTION, LONG_MODULE = 40, 250  # lines
HABITS = {
    '"tell", "tells", "told"': re.compile(r"\b(?:tells?|told)\b", re.IGNORECASE),
    '"what", outside questions': re.compile(r"\bwhat\b(?![^.?!]*\?)", re.IGNORECASE),
}
FORMATTED = getattr(tokenize, "FSTRING_MIDDLE", None)  # the text of an f-string, from Python 3.12 on


def prose_of_python(text: str) -> Iterator[str]:
    """Yield comments, and strings of several words."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (
            token.type in (tokenize.STRING, FORMATTED) and " " in token.string.strip()
        ):
            yield token.string


def prose_of_markdown(text: str) -> str:
    """Return a text without its blocks and spans of code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def tracked(*patterns: str) -> list[Path]:
    """List files that git tracks."""
    words = ["git", "-C", str(ROOT), "ls-files", "-z", *patterns]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in found.split("\0") if name]


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def main() -> None:
    modules = sorted(SOURCE.rglob("*.py"))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules}
    sizes = {path: count_lines(path) for path in modules if path.name != "__init__.py"}
    functions = [
        node.end_lineno - node.lineno + 1
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    homes: defaultdict[str, set[Path]] = defaultdict(set)
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                homes[node.name].add(path)
    proofs = {path.stem.removeprefix("test_") for path in tracked("tests/**/test_*.py", "tests/test_*.py")}
    longest = max(sizes, key=sizes.__getitem__)
    tall = sum(size > LONG_FUNCTION for size in functions) / len(functions)
    repeated = sum(len(where) > 1 for where in homes.values())
    proven = sum(path.stem in proofs for path in sizes)
    long = sorted((lines, path) for path, lines in sizes.items() if lines > LONG_MODULE)
    rows = {
        "modules": f"{len(sizes)}",
        "lines": f"{sum(map(count_lines, modules)):,}",
        "median and longest module": f"{statistics.median(sizes.values()):.0f}, {sizes[longest]}",
        f"modules above {LONG_MODULE} lines": ", ".join(f"{path.stem} {lines}" for lines, path in long)
        or "0",
        f"functions above {LONG_FUNCTION} lines": f"{tall:.1%}",
        "public names defined in several modules": f"{repeated} of {len(homes)}",
        "modules with a test file of their name": f"{proven} of {len(sizes)}",
        "modules of each part": ", ".join(
            f"{part} {number}"
            for part, number in Counter(path.relative_to(SOURCE).parts[0] for path in sizes).items()
            if number > 1
        ),
        "notebooks, kB": ", ".join(
            f"{path.stem} {path.stat().st_size / 1000:.0f}" for path in tracked("kernels/*/*.ipynb")
        ),
        "tracked lines, of them generated notebooks": "{:,}, {:,}".format(
            *(sum(map(count_lines, tracked(*patterns))) for patterns in ((), ("kernels/*/*.ipynb",)))
        ),
    }
    prose = [
        part
        for path in tracked("src/*.py", "benchmarks/*.py", "kernels/*/*.py")
        for part in prose_of_python(path.read_text(encoding="utf-8"))
    ]
    prose += [prose_of_markdown(path.read_text(encoding="utf-8")) for path in tracked("*.md")]
    words = sum(len(re.findall(r"[A-Za-z']+", part)) for part in prose)
    for name, pattern in HABITS.items():
        rows[f"{name} in 1,000 words"] = (
            f"{1000 * sum(len(pattern.findall(part)) for part in prose) / words:.2f}"
        )
    print("| measure | value |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
