"""Convert a matplotlib figure to SVG for a page: its colours follow the page's theme, its parts are links.

matplotlib writes fixed colours; those of the palette are replaced by the page's CSS variables, so that one
picture serves light and dark. An artist with `set_url` becomes a link; a keyboard reaches those to selections
of cases.
"""

import io
import re
from collections.abc import Mapping
from html import escape
from urllib.parse import quote, urlencode

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

# Okabe and Ito's colours, which are distinct for the colour-blind (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, GREY = "#CC79A7", "#56B4E9", "#808080"
RUNS = (BLUE, ORANGE, GREEN, PINK, SKY, RED)  # of several runs in one figure, in their order
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 3)))

_THEME = {
    "#000000": "currentColor",
    "#ffffff": "var(--surface)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
    PINK: "var(--pink)",
    SKY: "var(--sky)",
    GREY: "var(--quiet)",
    "#cccccc": "var(--line)",
}


def to_svg(figure: Figure, name: str, label: str, links: Mapping[str, str] | None = None) -> Markup:
    """Write a figure as SVG to stand inside an HTML page.

    Args:
        figure: The figure; drawn without a background.
        name: Name of the figure, unique on its page; every id in the SVG begins with it.
        label: Description for screen readers.
        links: Description of each link by its address ('#/...').
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for unwanted in (r"<metadata>.*?</metadata>\s*", r"<defs>\s*<style.*?</style>\s*</defs>\s*"):
        text = re.sub(unwanted, "", text, flags=re.DOTALL)  # the style would reach the whole page
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for colour, variable in _THEME.items():
        text = re.sub(colour, variable, text, flags=re.IGNORECASE)
    text = re.sub(r"(?<= )id=\"", f'id="{name}-', text)
    text = re.sub(r"(url\(|href=\")#(?!/)", rf"\1#{name}-", text)
    text = text.replace("<a xlink:href=", "<a href=").replace(' target="_blank">', ">")
    for address, words in (links or {}).items():
        opening = f'<a href="{escape(address)}"'
        # A keyboard reaches a case in the grid of cases, not through hundreds of points.
        reach = ' tabindex="-1"' if address.startswith(case_link("")) else ""
        text = text.replace(opening, f'{opening} aria-label="{escape(words)}"{reach}')
    text = re.sub(r'^(<svg[^>]*?) width="[\d.]+pt"', r"\1", text)
    text = re.sub(r'^(<svg[^>]*?) height="[\d.]+pt"', r"\1", text)
    role = "group" if links else "img"
    return Markup(text.replace("<svg ", f'<svg role="{role}" aria-label="{escape(label)}" ', 1))


def cases_link(**query: str) -> str:
    """Return the address of a selection of cases (see `web/cases.js`), such as ``#/cases?dice=0-0.05``."""
    return "#/cases?" + urlencode(query)


def case_link(name: str) -> str:
    """Return the address of one case by its ImageId."""
    return "#/case/" + quote(name, safe="")
