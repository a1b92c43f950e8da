"""The documentation: its links, the names of files and flags in it, and the site that is made of it."""

import argparse
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from tests.browser import browser, chromium  # noqa: F401

import pneumothorax
from pneumothorax.cli import build_parser

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/pneumothorax"
TEXTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
IDS = [str(path.relative_to(ROOT)) for path in TEXTS]
NEEDED = ("sphinx", "furo", "myst_parser")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
MADE_LATER = {"mine.json", ".py"}  # a user's own file, and a suffix


@pytest.fixture(scope="module")
def make_pages():
    """The script docs/make_pages.py as a module."""
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "docs/make_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_blocks(text):
    """Return a text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


@cache
def anchors(path):
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(path.read_text("utf-8")), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path):
    text = re.sub(r"`[^`\n]*`", "", without_blocks(path.read_text("utf-8")))
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_every_link_and_picture_leads_somewhere(path):
    assert list(broken_links(path)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` c, d\n[1](#a-b-c-d) [2](#e) [3](https://example.org) ![4](none.png) `[5](code.md)`\n"
    )
    assert list(broken_links(page)) == ["#e", "none.png"]


def test_every_page_is_in_the_navigation(make_pages):
    listed = [name for names in make_pages.PARTS.values() for name in names]
    assert len(listed) == len(set(listed))
    pages = {path.stem for path in ROOT.glob("docs/*.md")}
    assert set(listed) - make_pages.GENERATED == pages, "PARTS of docs/make_pages.py lists the pages of docs/"


@cache
def files():
    return [
        path
        for folder in ("src", "tests", "benchmarks", "kernels", "docs")
        for path in (ROOT / folder).rglob("*")
    ]


def missing_files(text):
    """Yield the names in backquotes that look like source files of this repository and are none.

    A name without its folder may be that of any file; `a/b.py` may stand below the package or the top.
    """
    for code in re.findall(r"`([^`\n]+)`", text):
        for word in code.split():
            name = word.strip("\"'(),")
            if not re.search(r"\.(py|js)$", name) or re.search(r"[<>*~]", name) or name in MADE_LATER:
                continue
            if "/" not in name:
                found = name in {path.name for path in files()} or (ROOT / name).exists()
            else:
                found = (ROOT / name).exists() or (PACKAGE / name).exists()
            if not found:
                yield name
        folder = re.fullmatch(r"(?:src/pneumothorax/)?((?:\w+/)+)", code)
        made_later = folder and folder[1].split("/")[0] in ("data", "runs", "build")
        if folder and not made_later and not ((PACKAGE / folder[1]).is_dir() or (ROOT / code).is_dir()):
            yield code


def described_modules():
    """Return the modules that docs/architecture.md lists, and those in CONTRIBUTING's order of imports.

    In the list they are `name.py`, `folder/`, and words with an underscore or joined by a plus.
    """
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    (block,) = re.findall(r"^```\nsrc/pneumothorax/\n(.*?)^```", text, flags=re.M | re.S)
    joined = re.findall(r"\w+(?: \+ \w+)+", block)
    order = [line for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines() if "<-" in line]
    named = [
        *re.findall(r"\w+\.py|\b\w+/|\b[a-z]+_[a-z_]+\b", block),
        *re.findall(r"`(\w+)`", " ".join(order)),
    ]
    return {name.removesuffix(".py").rstrip("/") for name in (*named, *re.findall(r"\w+", " ".join(joined)))}


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_source_files_that_a_page_names_exist(path):
    assert list(missing_files(path.read_text("utf-8"))) == []


def test_a_source_file_that_is_gone_is_found():
    text = "`data/rle.py` `rle.py` `flags.py` and `model/nothing.py`; `segmentation/` but `segment/` not"
    assert list(missing_files(text)) == ["flags.py", "model/nothing.py", "segment/"]


def test_the_modules_that_are_listed_exist():
    named = described_modules()
    assert {"dicom", "fold_folder", "segmentation", "flag_types", "recipe_checks"} <= named
    assert named - {path.stem for path in PACKAGE.rglob("*")} == set()


@cache
def known_flags():
    """Return the flags of all commands, of pytest as it is set up here, and of the benchmarks."""
    (commands,) = (one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    flags = {flag for command in commands.choices.values() for flag in command._option_string_actions}
    flags.add("--no-deps")  # pip's
    sources = [ROOT / "tests/conftest.py", *ROOT.glob("benchmarks/*.py")]
    return flags.union(*(re.findall(r'"(--[a-z-]+)"', path.read_text("utf-8")) for path in sources))


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_flags_that_a_page_names_exist(path):
    named = re.findall(r"(?<![\w-])--[a-z][a-z-]*", path.read_text("utf-8"))
    assert [flag for flag in named if flag not in known_flags()] == []


def test_the_commands_page_has_every_flag_and_is_plain(make_pages):
    text = "\n".join(make_pages.describe_commands())
    for flag in ("--classification-threshold", "--top-threshold", "--fold-count"):
        assert f"`{flag} " in text
    assert "--child-of" not in text  # between the processes of one command
    assert text.count("\n## ") == len(re.findall(r"^pneumothorax [a-z-]+", text, flags=re.M))
    assert "(no help)" not in text


def test_the_library_page_has_every_name(make_pages):
    text = "\n".join(make_pages.describe_library())
    named = set(re.findall(r"auto\w+:: pneumothorax\.(?:data\.)?(\w+)|^`(RECIPES)`", text, flags=re.M))
    assert {one or other for one, other in named} >= set(pneumothorax.__all__)


def test_a_broken_link_of_the_site_is_named(make_pages, tmp_path):
    (tmp_path / "a.html").write_text(
        '<link href="https://fonts.example/x.css"><a href="b.html#here">1</a><a href="b.html#gone">2</a>'
        '<a href="c.html">3</a><a href="https://example.org">4</a><img src="none.png">'
        '<a href="#top" id="top">5</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here">')
    assert sorted(make_pages.check_site(tmp_path)) == [
        "a.html: loads https://fonts.example/x.css",
        "a.html: no file for c.html",
        "a.html: no file for none.png",
        "a.html: no place for b.html#gone",
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)} (pip install -e '.[docs]')")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, ROOT / "docs/make_pages.py", "--out", folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all links good\n")
    return folder / "docs"


@pytest.mark.slow  # Sphinx imports Keras for the docstring of build_model
def test_the_site_builds_without_a_warning(site):
    library = (site / "library.html").read_text("utf-8")
    assert "train one fold" in library.lower()
    assert "mirror left and right" in library  # a field of Recipe


@pytest.mark.slow
def test_no_page_of_the_site_is_wider_than_a_phone_in_light_or_dark(site, browser):  # noqa: F811
    seen = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        for width in (390, 1280):
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == 390}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            for path in sorted(site.glob("*.html")):
                browser.get(path.as_uri())
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path
        seen.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(seen) == 2
