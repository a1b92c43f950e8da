"""Markdown of hubs: tables and front matter, with every text of a file or tag escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def escape(text: object) -> str:
    """Escape a text for a paragraph or a cell: one line, no HTML, no end of the cell."""
    line = " ".join(str(text).split())
    for sign in "\\`*_[]<>|#$":
        line = line.replace(sign, f"\\{sign}")
    return line


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table of texts, which are escaped."""
    lines = [head, ["---"] * len(head), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def upright(head: Sequence[str], row: Sequence[object], skip: int = 0) -> str:
    """Write one row of a broad table as a table of two columns, which a phone can show."""
    return table(["measure", "value"], list(zip(head, row, strict=True))[skip:])


def front_matter(values: Mapping[str, Any]) -> str:
    """Write values as YAML between two lines of hyphens; JSON, which YAML contains, is used for each."""
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---"])
