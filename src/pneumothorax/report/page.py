"""Fill templates to make one HTML file that needs no network and no other file.

The sources lie in ``web/``: Jinja2 templates, one stylesheet, plain JavaScript. Knows nothing of runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pneumothorax import __version__
from pneumothorax.workspace import atomic

WEB = Path(__file__).parent / "web"


def write_page(path: Path, template: Path, context: Mapping[str, Any]) -> None:
    """Fill a template and write it in one step (see `atomic`).

    Text is always escaped, so that no name in a file or tag becomes part of the page's code.

    Args:
        path: The HTML file.
        template: Template that extends ``base.html`` of ``web/``; it may lie in another folder.
        context: Values for the template.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, WEB]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}  # JSON has no NaN
    environment.filters["number"] = number
    environment.globals["source"] = read_source
    environment.globals["version"] = __version__
    # Surrogates, of a name that is not UTF-8 or of JSON, are no text that UTF-8 has.
    with atomic(path) as temporary, temporary.open("w", -1, "utf-8", "backslashreplace") as file:
        file.writelines(environment.get_template(template.name).generate(context))


def read_source(name: str) -> Markup:
    """Return a stylesheet or script of ``web/`` unchanged."""
    return Markup((WEB / name).read_text(encoding="utf-8"))


def number(value: float | None, digits: int = 3) -> str:
    """Format a number: whole ones with separators, others with some digits, '–' for None."""
    if value is None or value != value:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"
