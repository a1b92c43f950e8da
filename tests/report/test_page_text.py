import pytest

from pneumothorax.report.page import write_page
from pneumothorax.report.page_text import counted, plain, printable, shorten


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1200, "1,200 images")]
)
def test_a_number_agrees_with_its_noun(number, text):
    assert counted(number, "image") == text


def test_a_long_name_keeps_its_end():
    assert shorten("a" * 24) == "a" * 24
    assert shorten("1.2.276.0.7230010.3.1.4.8323329") == "...7230010.3.1.4.8323329"
    assert len(shorten("b" * 100)) == 24


def test_a_name_is_one_line_of_text_that_matplotlib_shows_as_it_is():
    assert printable("ä b") == "ä b"
    assert printable("a\n\x1b") == r"a\n\x1b"
    assert printable("R\udcf6ntgen") == r"R\xf6ntgen"  # bytes of a file's name that are not UTF-8
    assert plain("_$x$") == r" _\$x\$"


def test_a_surrogate_on_a_page_is_shown_escaped(tmp_path):
    (tmp_path / "template.html").write_text("{{ name }}")
    write_page(tmp_path / "page.html", tmp_path / "template.html", {"name": "\ud800é"})
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "\\ud800é"
