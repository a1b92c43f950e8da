"""The page's parts: what they say, and that nothing in a file's name or tags becomes code."""

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pneumothorax.app import html
from pneumothorax.app.cases import Case, look
from pneumothorax.data.dicom import Radiograph
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.rule import Rule

EVIL = "<script>alert(1)</script>\n\u202e.dcm"


def make_case(level=255, name="a.dcm", **tags):
    probability = np.zeros((32, 32), np.uint8)
    probability[8:16, 2:10] = level
    pixels = np.random.default_rng(0).integers(0, 256, (320, 320), dtype=np.uint8)
    return Case(name, Radiograph("a", pixels, **tags), None, probability, None)


def text_of(case, rule=None):
    page = html.show(case, look(case, rule or Rule()))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_side_area_and_probability_are_shown():
    text = text_of(make_case(view="PA", spacing_mm=(1.0, 1.0)))
    for word in (
        "pneumothorax",
        "1.000 (highest of the map)",
        "patient&#x27;s right",
        "cm²",
        "view PA",
        "a.dcm",
    ):
        assert word in text
    assert "no pneumothorax found" not in text
    assert "1.000 (image-level)" in text_of(replace(make_case(), image_probability=1.0))


def test_an_empty_image_has_neither_side_nor_area():
    text = text_of(make_case(level=0))
    assert "no pneumothorax found" in text
    assert "Side" not in text
    assert "Area" not in text


def test_warnings_are_listed():
    assert "a lateral view (LL)" in text_of(make_case(view="LL"))


def test_pictures_are_in_the_page_itself():
    page = html.show(make_case(), look(make_case(), Rule()))
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(sources) == page.count("src=") == 2
    for source in sources:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(source), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (320, 320, 3)


@pytest.mark.parametrize(
    "page",
    [
        html.show(make_case(name=EVIL), look(make_case(name=EVIL, view=EVIL, body_part=EVIL), Rule())),
        html.show_messages([EVIL]),
        html.about(EVIL, Decision(), EVIL),
    ],
    ids=["case", "messages", "about"],
)
def test_names_and_tags_are_text(page):
    assert "<script" not in page
    assert "&lt;script" in page
    assert "\u202e" not in page.split("<pre")[0]


def test_the_rule_s_evidence_is_shown():
    tuned = html.about("strong", Decision(Rule(0.3), score=0.86, images=1200), "# card")
    assert "threshold 0.3" in tuned
    assert "mean Dice 0.860 on 1,200 held-out images" in tuned
    assert "not tuned" in html.about("strong", Decision(), "")


def test_a_mask_as_png_is_0_and_255():
    mask = np.eye(9, dtype=bool)
    pixels = cv2.imdecode(np.frombuffer(html.encode_png(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pixels, mask * np.uint8(255))


def test_no_message_is_no_box():
    assert html.show_messages([]) == ""
