"""Notebooks: the same bytes each time, the package exact within, parameters checked."""

import ast
import functools
import json
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pneumothorax import __version__, source
from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks import metadata, notebook
from pneumothorax.kaggle.notebooks.embedded_package import write_cell
from pneumothorax.kaggle.notebooks.needed import find_needed

pytestmark = pytest.mark.slow

KERNELS = sorted(
    path.parent for path in (Path(__file__).parents[3] / "kernels").glob("*/kernel-metadata.json")
)
SOURCE = """\
# %% [markdown]
# # Title

# %% tags=["parameters"]
WORD = "seed"  # a comment, "quoted" = too
COUNT, UNUSED = 1, 2
NUMBER = 3  # äöü
SHARE = 0.5
SWITCH = True
ITEMS = [
    "one",  # inner
    "two",
]

# %% [markdown] tags=["package"]
# The package.

# %%
print(WORD)

# %%
print(WORD)

# %%
from pneumothorax.cli import main

main(["tune"])
"""


@pytest.fixture(autouse=True, scope="module")
def imports_found_once():
    """Look once for the files that a source needs: each look parses the whole package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebook, "find_needed", functools.cache(find_needed))
        yield


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """IPython itself, without a user's settings and history."""
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config, ipython_dir=str(tmp_path_factory.mktemp("ipython")))
    shell.user_ns["carried"] = tmp_path_factory.mktemp("carried with a space")
    (shell.user_ns["carried"] / "pneumothorax" / "data").mkdir(parents=True)
    return shell


def read(content):
    """Read a notebook as any tool would, and check its form."""
    read = nbformat.reads(content.decode(), as_version=4)
    nbformat.validate(read)
    return read


def parameters(content):
    (cell,) = [cell for cell in read(content).cells if "parameters" in cell.metadata.get("tags", ())]
    return cell.source


# The repository's notebooks


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_a_committed_notebook_is_what_its_sources_give(folder):
    assert not notebook.is_stale(folder), f"{folder.name}.ipynb is older than the sources: run `make kernels`"


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_a_notebook_is_built_alike_each_time(folder):
    script = folder / f"{folder.name}.py"
    first = notebook.build(script)
    assert first == notebook.build(script)
    assert first.endswith(b"}\n")
    assert len({cell.id for cell in read(first).cells}) == len(read(first).cells)


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_a_source_survives_the_way_to_a_notebook_and_back(folder):
    """A source that jupytext itself would write differently would lose something on the way."""
    text = (folder / f"{folder.name}.py").read_text(encoding="utf-8")
    assert jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="py:percent").endswith(text)


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_every_cell_of_a_source_is_in_its_notebook_in_order(folder):
    cells = jupytext.reads((folder / f"{folder.name}.py").read_text(), fmt="py:percent").cells
    built = iter(read(notebook.build(folder / f"{folder.name}.py")).cells)
    for cell in cells:
        assert any(cell.source == other.source for other in built)


@pytest.mark.parametrize("folder", KERNELS, ids=lambda folder: folder.name)
def test_parameters_and_title_come_before_the_package_and_import_nothing(folder):
    cells = read(notebook.build(folder / f"{folder.name}.py")).cells
    first = next(at for at, cell in enumerate(cells) if cell.metadata.get("_kg_hide-input"))
    assert cells[0].source.startswith("# ")
    assert any("parameters" in cell.metadata.get("tags", ()) for cell in cells[:first])
    assert not re.search(r"^\s*(import|from)\b", "\n".join(c.source for c in cells[:first]), re.MULTILINE)


# What every notebook is


def test_a_notebook_names_its_kernel_and_no_version_and_holds_no_output(path):
    built = read(notebook.build(path))
    assert built.metadata.kernelspec.name == "python3"
    assert built.metadata.language_info == {"name": "python"}
    assert "jupytext" not in built.metadata
    assert (built.nbformat, built.nbformat_minor) == (4, 5)
    assert all(c.outputs == [] and c.execution_count is None for c in built.cells if c.cell_type == "code")


def test_a_change_of_one_cell_changes_one_id(path):
    before = [cell.id for cell in read(notebook.build(path)).cells]
    path.write_text(SOURCE.replace("# # Title", "# # Other"), encoding="utf-8")
    after = [cell.id for cell in read(notebook.build(path)).cells]
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1


def test_the_package_follows_its_tag_in_reading_order_folded_and_whole(path):
    cells = read(notebook.build(path)).cells
    start = next(at for at, cell in enumerate(cells) if "package" in cell.metadata.get("tags", ()))
    writing = [cell for cell in cells if cell.source.startswith("%%writefile")]
    assert cells[start + 1].source.startswith("import os")
    assert [re.search(r'pneumothorax/(.+)"', cell.source)[1] for cell in writing] == [
        path.as_posix() for path in find_needed(SOURCE)
    ]
    assert all(cell.metadata["_kg_hide-input"] and cell.metadata.jupyter.source_hidden for cell in writing)
    headings = [cell.source for cell in cells[start + 1 :] if cell.cell_type == "markdown"]
    assert "### `data/`\nFrom files on disk to arrays; knows nothing of networks." in headings


@pytest.mark.parametrize("commit", ["", "0a1b2c3+changes"])
def test_version_digest_and_commit_are_stated(path, commit):
    lines = "\n".join(cell.source for cell in read(notebook.build(path, commit=commit)).cells).splitlines()
    (stated,) = [line for line in lines if line.startswith('version, digest, commit = "')]
    files = source.read_files()
    carried = {path: files[path] for path in find_needed(SOURCE)}
    assert (
        stated == f'version, digest, commit = "{__version__}", "{source.digest_files(carried)}", {commit!r}'
    )


# Files come out as they went in


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n",
        '%%time\nprint("a cell magic")\n',
        "%matplotlib inline\n!ls\nls?\n",
        '"""{carried} $HOME {missing}"""\n',
        "# Grüße, ½ 中文 😀\n",
        "\tx\n",
    ],
)
def test_ordinary_files_are_readable_in_their_cell(text):
    assert write_cell("data/x.py", text) == (
        '%%writefile "{carried}/pneumothorax/data/x.py"\n' + text.removesuffix("\n")
    )


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\r\t\f %>.\\'\"{}$\x85\u2028")))
@settings(deadline=None, max_examples=300)
@example("")
@example("\n")
@example("x")
@example("x\n\n")
@example("\nx\n")
@example("  indented\n")
@example("%%time\n%%writefile y\n")
@example(">>> 1\n... 2\n")
@example("...\n... \n")
@example('"""\n    >>> f(1)\n    2\n"""\n')
@example("In [1]: x\n")
@example("a\r\nb\rc\n")
@example("a\x0cb\u2028c\x85d\n")
@example("\ufeffx\n")
@example("x \n\t\n")
@example("{carried}{missing}$HOME\n")
@example("\0\n")
def test_any_file_comes_out_of_ipython_exactly_as_it_went_in(shell, text):
    cell = write_cell("data/x.py", text)
    lines = json.loads(json.dumps(cell.splitlines(keepends=True)))
    written = shell.user_ns["carried"] / "pneumothorax" / "data" / "x.py"
    written.unlink(missing_ok=True)
    shell.run_cell("".join(lines)).raise_error()
    assert written.read_bytes() == text.encode("utf-8")


# Parameters


def test_parameters_take_the_place_of_their_values_alone(path):
    values = {"WORD": 'it\'s "x"\n', "NUMBER": -4, "SHARE": 2, "SWITCH": False, "ITEMS": ["ä", "b/c"]}
    text = parameters(notebook.build(path, parameters=values))
    found = {}
    exec(text, found)
    assert {name: found[name] for name in values} == values
    assert (found["COUNT"], found["UNUSED"]) == (1, 2)
    assert '# a comment, "quoted" = too' in text
    assert "# äöü" in text


def test_without_parameters_the_cell_is_the_sources(path):
    assert parameters(notebook.build(path)) == parameters(notebook.build(path, parameters={}))
    assert parameters(notebook.build(path)) in SOURCE


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTHER", 1, "one of WORD, NUMBER, SHARE, SWITCH, ITEMS"),
        ("COUNT", 1, "one of WORD"),
        ("WORD", 1, "a str, such as 'seed'"),
        ("NUMBER", True, "a int, such as 3"),
        ("NUMBER", 1.0, "a int"),
        ("SHARE", True, "a float"),
        ("SHARE", float("nan"), "a float"),
        ("SHARE", float("inf"), "a float"),
        ("SWITCH", 1, "a bool"),
        ("ITEMS", ("one",), "a list"),
        ("ITEMS", [Path("x")], "a list"),
    ],
)
def test_unknown_parameters_and_other_types_are_refused(path, name, value, expected):
    with pytest.raises(UserError, match=re.escape(expected)) as error:
        notebook.build(path, parameters={name: value})
    assert name in str(error.value)
    assert str(path) in str(error.value)


def test_parameters_given_as_text_are_read_as_what_they_replace(path):
    texts = {"WORD": "a, b", "NUMBER": "-4", "SHARE": "2", "SWITCH": "False", "ITEMS": "me/a,me/b"}
    values = notebook.read_values(path, texts)
    assert values == {"WORD": "a, b", "NUMBER": -4, "SHARE": 2.0, "SWITCH": False, "ITEMS": ["me/a", "me/b"]}
    assert notebook.read_values(path, {"WORD": "", "ITEMS": ""}) == {"WORD": "", "ITEMS": []}
    notebook.build(path, parameters=values)


@pytest.mark.parametrize(
    ("name", "text"), [("NUMBER", "1.5"), ("NUMBER", ""), ("SHARE", "half"), ("SWITCH", "1"), ("OTHER", "x")]
)
def test_texts_of_another_type_are_refused(path, name, text):
    with pytest.raises(UserError, match="one of WORD" if name == "OTHER" else f"parameter {name}={text}"):
        notebook.read_values(path, {name: text})


@given(st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_literal_goes_into_its_place(value):
    text = notebook._replace(f"A = 0\nX = {type(value)()!r}  # why\nB = 1\n", {"X": value}, Path("s.py"))
    assert ast.literal_eval(ast.parse(text).body[1].value) == value
    assert text.splitlines()[-2].endswith("  # why")


# Mistakes


def test_a_source_without_its_tags_or_with_two_is_refused(path):
    path.write_text(SOURCE.replace('[markdown] tags=["package"]', "[markdown]"))
    with pytest.raises(UserError, match="0 cells tagged 'package'"):
        notebook.build(path)
    path.write_text(SOURCE + SOURCE)
    with pytest.raises(UserError, match="2 cells tagged 'parameters'"):
        notebook.build(path, parameters={"WORD": "x"})


def test_a_missing_source_is_refused(tmp_path):
    with pytest.raises(UserError, match="percent format"):
        notebook.build(tmp_path / "none.py")


def test_a_notebook_too_large_for_kaggle_is_refused(path):
    path.write_text(SOURCE + "# " + "x" * 950_000 + "\n")
    with pytest.raises(UserError, match=r"1,\d{3},\d{3} bytes; expected at most 950,000"):
        notebook.build(path)


# Folders


def test_a_notebook_is_stale_until_it_is_written_and_after_a_change(path):
    folder = path.parent
    (folder / metadata.NAME).write_text(json.dumps({"code_file": "own.ipynb"}))
    assert notebook.is_stale(folder)
    assert notebook.write(folder) == folder / "own.ipynb"
    assert not notebook.is_stale(folder)
    assert (folder / "own.ipynb").read_bytes() == notebook.build(path)
    path.write_text(SOURCE + "# more\n")
    assert notebook.is_stale(folder)
