"""Build the documentation site: the pages of docs/, the library's names and every command's flags.

`make docs` runs it. The pages are copied to build/pages, those of the library and the commands are made there
from docstrings and the argument parser, and Sphinx makes build/docs of them; a warning of Sphinx or a broken
link is exit code 1. It needs the extra `docs`, and no connection.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pneumothorax import RECIPES, Recipe, Rule, cli

ROOT = Path(__file__).parents[1]
# The navigation: every page of docs/, in the order in which a newcomer reads them.
PARTS = {
    "Use": ["kaggle", "data", "explore", "devices", "report", "segment", "app", "export", "publish"],
    "Background": ["method", "results"],
    "Reference": ["commands", "library", "architecture", "contributing"],
}
GENERATED = {"commands", "library", "contributing"}


def write_pages(folder: Path) -> None:
    """Write the sources of the site into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.png")):
        shutil.copy(path, folder)
    trees = (_tree(caption, names) for caption, names in PARTS.items())
    pages = {
        "index": _mend((ROOT / "README.md").read_text("utf-8")) + "\n" + "\n".join(trees),
        "contributing": _mend((ROOT / "CONTRIBUTING.md").read_text("utf-8")),
        "commands": "\n".join(describe_commands()),
        "library": "\n".join(describe_library()),
    }
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, "utf-8")


def _tree(caption: str, names: Iterable[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```", ""])


def _mend(text: str) -> str:
    """Point the links of a page at the top of the repository to the pages of the site."""
    return text.replace("](docs/", "](").replace("](CONTRIBUTING.md", "](contributing.md")


def _plain(text: str) -> str:
    """Escape the characters that Markdown reads as marks, and set flags as code, or -- becomes a dash."""
    escaped = re.sub(r"([\\`*_<>\[\]#|$])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", escaped)


def describe_commands() -> Iterator[str]:
    """Return the lines of a page with the arguments and flags of each command, as its `--help` has them."""
    parser = cli.build_parser()
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    yield f"# Commands\n\n{_plain(parser.description or '')} {_plain(parser.epilog or '')}\n"
    for name, command in commands.choices.items():
        formatter = command._get_formatter()
        actions = [one for one in command._actions if one.help != argparse.SUPPRESS]
        subjects = [one for one in actions if not one.option_strings]
        yield f"## {name}\n\n{_plain(command.description)}\n"
        words = [
            formatter._format_args(one, formatter._get_default_metavar_for_positional(one))
            for one in subjects
        ]
        yield f"```\npneumothorax {' '.join([name, *words])} [flags]\n```\n"
        for one in (*subjects, *(one for one in actions if one.option_strings)):
            shown = formatter._format_action_invocation(one)
            yield f"`{shown}`\n: {_plain(formatter._expand_help(one)) if one.help else '(no help)'}\n"


def describe_library() -> Iterator[str]:
    """Return the lines of a page on `import pneumothorax`, which Sphinx fills from docstrings."""
    yield "# Library\n\n`import pneumothorax as ptx`; each name is loaded when it is used, and Keras by"
    yield "those that compute.\n\n## Compute\n"
    yield _directive(
        "function", "read_radiograph", "train", "tune", "predict", "segment", "dice", "build_model"
    )
    yield _directive("class", "data.dicom.Radiograph", "library.Prediction", "inference.decision.Decision")
    yield "\n## Recipes\n"
    yield f"`RECIPES` has the named recipes by name: {', '.join(f'`{name}`' for name in RECIPES)}.\n"
    yield _directive("function", "find_recipe")
    yield _directive("class", "Recipe") + "\n" + "\n".join(_describe_fields(Recipe))
    yield "\n## The rule from probability to mask\n"
    yield _directive("class", "Rule") + "\n" + "\n".join(_describe_fields(Rule))
    yield "\n## Run-length code\n"
    yield _directive("module", "rle").replace("pneumothorax.rle", "pneumothorax.data.rle") + "\n"


def _directive(kind: str, *names: str) -> str:
    """Return directives that Sphinx fills with signatures and docstrings, of a module with its members'."""
    options = {"module": "\n   :members: encode, decode, area"}
    blocks = [f".. auto{kind}:: pneumothorax.{name}{options.get(kind, '')}\n" for name in names]
    return "```{eval-rst}\n" + "\n".join(blocks) + "```\n"


def _describe_fields(kind: type) -> Iterator[str]:
    for part in fields(kind):
        text = f"{part.metadata['help']} (default: {part.default!r})"
        yield f"`{part.name}`\n: {_plain(text)}\n"


class _Links(HTMLParser):
    """The links of a page, the files that it loads, and the places that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag's links and name."""
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name == "src" or (name == "href" and tag == "link"):
                self.loaded.append(value or "")
            elif name == "href":
                self.links.append(value or "")


def check_site(folder: Path) -> list[str]:
    """Return a line for each link to a missing file or place, and each file that is loaded from elsewhere."""
    pages = {path.resolve(): _Links(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    faults.append(f"{path.name}: loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{path.name}: no file for {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                faults.append(f"{path.name}: no place for {link}")
    return faults


def main() -> int:
    """Build the site; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="gets pages/ and docs/ (build)")
    out: Path = parser.parse_args().out
    os.environ.pop("PNEUMOTHORAX_ROOT", None)  # a default that the site would show
    pages, site = out / "pages", out / "docs"
    write_pages(pages)
    shutil.rmtree(site, ignore_errors=True)
    words = ["-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
    words += ["--conf-dir", ROOT / "docs", "--doctree-dir", out / "doctrees", pages, site]
    if code := subprocess.run([sys.executable, *map(str, words)], check=False).returncode:
        return code
    faults = check_site(site)
    print(
        "\n".join(
            faults or [f"{site / 'index.html'}: {len(list(site.glob('*.html')))} pages, all links good"]
        )
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
