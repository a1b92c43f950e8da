"""The report of a run: what it holds, what it does in a browser, and how it fails."""

import functools
import itertools
import json
import os
import re
import shutil
from dataclasses import asdict, fields, replace
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from markupsafe import Markup
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.report.runs import TRIPLET, make_run
from tests.waiting import HANG_SECONDS

from pneumothorax.cli import main
from pneumothorax.inference.decision import Decision, write_decision
from pneumothorax.inference.pixel_counts import judge, measure_masks
from pneumothorax.inference.predictions import read_predictions, write_predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.report import cases, pictures, run_page
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.training.provenance import digest_folds, write_note
from pneumothorax.training.run import find_folds

pytestmark = pytest.mark.slow
FULL = Rule(0.35, 0.55, 800, 200, 0.25)  # every part of it counts
HOSTILE = "</script><script>document.title='owned'</script>"


def report(root, *names, code=0):
    assert main(["report", *names, "--root", str(root)]) == code
    return root / "runs" / names[0] / "report.html"


@functools.cache
def report_once(root, name):
    """Write the report of a run that no test changes."""
    return report(root, name)


@pytest.fixture
def without_charts(monkeypatch):
    """Leave out the drawing, which takes most of a report's time, where a test looks at other parts."""
    monkeypatch.setattr(run_page, "to_svg", lambda *_: Markup("<svg></svg>"))


def wait(browser, condition):
    return WebDriverWait(browser, HANG_SECONDS, 0.05).until(lambda _: condition())


def run_script(browser, text, *arguments):
    return browser.execute_script(f"return {text}", *arguments)


def open_case(browser, page, name):
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}#/case/{quote(name)}")
    wait(browser, lambda: run_script(browser, "open && open.mask && viewer.dataset.dice"))


def data_of(page):
    text = re.search(r'id="cases-data">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    return json.loads(text)


def dice_of(data, run=0):
    """Return the Dice of each case as the page makes it of the pixels that it carries."""
    truth, found, both = (
        np.array(part) for part in (data["truth"], *map(data["runs"][run].get, ("area", "overlap")))
    )
    return np.where(truth + found, 2 * both / np.maximum(truth + found, 1), 1.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two runs on the same images, the first of two folds and with a rule of every part."""
    root = tmp_path_factory.mktemp("report")
    make_run(root, "one", 2, image_probability=True, decision=Decision(FULL))
    make_run(root, "two", 2, shift=0)
    make_run(root, "odd", size=96, shape=(700, 1100), decision=TRIPLET)
    return root


@pytest.fixture(scope="module")
def page(root):
    return report_once(root, "one")


def test_the_page_needs_nothing_from_elsewhere(page):
    text = page.read_text()
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!#|data:)', text)
    assert "//" not in "".join(re.findall(r"(?:src|href|url\(|fetch\(|import)[^<>]{0,40}", text))
    assert "default-src 'none'" in text


def test_scores_are_those_of_the_package(root, page):
    run = root / "runs" / "one"
    parts = [read_predictions(run / f"fold{number}" / "out_of_fold") for number in range(2)]
    each = np.concatenate([judge(part, FULL) for part in parts])
    data = data_of(page)
    np.testing.assert_array_equal(dice_of(data), each)
    assert f"{each.mean():.4f}" in page.read_text()
    assert "0a1b2c3" in page.read_text()
    assert "2 x test" in page.read_text()


@pytest.mark.parametrize("name", ["one", "odd"])
def test_the_browser_decides_as_python_does_whatever_the_rule(browser, root, name):
    page = report_once(root, name)
    parts = open_run(root / "runs" / name)[1]
    generator = np.random.default_rng(3)
    names = [image for part in parts for image in part.studies["ImageId"]]
    for _ in range(4):
        threshold = float(generator.integers(5, 90)) / 100
        rule = Rule(
            threshold,
            min(1.0, round(threshold + float(generator.choice([0, 0.1])), 2)),
            int(generator.choice([0, 500, 20_000])),
            int(generator.choice([0, 900])),
            0.5 if name == "one" and generator.random() < 0.5 else 0.0,
        )
        counts = [measure_masks(part, rule) for part in parts]
        overlap, truth, area = (np.concatenate(column) for column in zip(*counts, strict=True))
        dice = np.concatenate([judge(part, rule) for part in parts])
        browser.get(page.as_uri())
        found = browser.execute_async_script(
            """
            const [names, rule, done] = arguments;
            Promise.all(names.map(async (name) => {
              const at = placeOf.get(name), content = contentOf(at);
              const result = compare(content.truth, await predictionOf(at, 0, rule));
              return [result.dice, result.found, result.truth, result.overlap];
            })).then(done);
            """,
            names,
            asdict(rule),
        )
        np.testing.assert_allclose([one[0] for one in found], dice, atol=5e-4)
        if name == "one":  # a size that divides 1024: the same to the pixel
            np.testing.assert_array_equal(
                [one[1:] for one in found], np.stack([area, truth, overlap], axis=1)
            )


def test_the_outlines_enclose_the_mask(browser, page):
    browser.get(page.as_uri())
    generator = np.random.default_rng(0)
    mask = np.zeros((1024, 1024), np.uint8)
    mask[300:360, 400:480] = generator.integers(0, 2, (60, 80))
    mask[:5, :7] = mask[-3:, -4:] = 1
    cv2.circle(mask, (700, 700), 50, 1, 9)
    places = np.flatnonzero(mask).tolist()
    path = run_script(
        browser,
        "(() => { const mask = new Uint8Array(SIDE * SIDE); for (const at of arguments[0]) mask[at] = 1; "
        "return trace(mask); })()",
        places,
    )
    drawn = np.zeros_like(mask)
    for loop in path.split("Z")[:-1]:
        corners = np.array([[int(word) for word in pair.split()] for pair in re.split("[ML]", loop)[1:]])
        for (x, y), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if x == x2:  # each border between columns turns the pixels to its right inside out
                drawn[min(y, y2) : max(y, y2), x:] ^= 1
    np.testing.assert_array_equal(drawn, mask)


def test_a_case_is_opened_moved_and_judged_anew_by_the_keyboard_alone(browser, root, page):
    name = "image-100-5"
    part = read_predictions(root / "runs" / "one" / "fold0" / "out_of_fold")
    open_case(browser, page, name)
    assert float(run_script(browser, "viewer.dataset.dice")) == pytest.approx(judge(part, FULL)[5], abs=5e-4)
    slider = browser.find_element(By.ID, "viewer-threshold")
    before = run_script(browser, "viewer.dataset.area")
    for _ in range(5):
        slider.send_keys(Keys.ARROW_RIGHT)
    wait(browser, lambda: run_script(browser, "viewer.dataset.area") != before)
    assert browser.find_element(By.ID, "viewer-threshold-value").text == "0.40"
    expected = judge(part, replace(FULL, threshold=0.40))[5]
    wait(
        browser,
        lambda: abs(float(run_script(browser, "viewer.dataset.dice")) - expected) < 5e-4,
    )
    assert browser.find_element(By.ID, "viewer-dice").text == f"{expected:.3f}"
    browser.find_element(By.ID, "viewer-reset").send_keys(Keys.ENTER)
    wait(browser, lambda: run_script(browser, "viewer.dataset.area") == before)

    keys = ActionChains(browser)
    browser.find_element(By.ID, "viewer-next").send_keys("")
    for key, layer in (("t", "truth"), ("p", "prediction"), ("h", "heat"), ("f", "fill")):
        pressed = browser.find_element(By.ID, f"viewer-show-{layer}").get_attribute("aria-pressed")
        keys.send_keys(key).perform()
        again = browser.find_element(By.ID, f"viewer-show-{layer}").get_attribute("aria-pressed")
        assert {pressed, again} == {"true", "false"}
    title = browser.find_element(By.ID, "viewer-title").text
    assert title == name
    browser.find_element(By.ID, "viewer-close").send_keys(Keys.ARROW_RIGHT)
    wait(browser, lambda: browser.find_element(By.ID, "viewer-title").text != name)
    keys.send_keys("+").perform()
    assert browser.find_element(By.ID, "viewer-zoom").text == "1.5×"
    keys.send_keys(Keys.ESCAPE).perform()
    wait(browser, lambda: not run_script(browser, "viewer.open"))


def test_each_part_of_the_rule_has_a_control_and_no_top_threshold_is_below_the_threshold(browser, page):
    open_case(browser, page, "image-100-5")
    rule = asdict(FULL)
    browser.execute_script("part('threshold').closest('.panel').querySelector('details').open = true")
    for part in fields(Rule):
        field = browser.find_element(By.ID, f"viewer-{part.name}")
        label = field.find_element(By.XPATH, "..")
        assert part.metadata["label"] in label.text
        assert label.get_attribute("title") == part.metadata["help"]
        assert float(field.get_attribute("value")) == rule[part.name]
        assert float(field.get_attribute("max")) == part.metadata["high"]
    field = browser.find_element(By.ID, "viewer-min_area")
    field.clear()
    field.send_keys("1048576")
    wait(browser, lambda: run_script(browser, "viewer.dataset.area") == "0")
    for name, value in (("threshold", 0.6), ("top_threshold", 0.1)):
        browser.execute_script(
            f"part('{name}').value = {value}; part('{name}').dispatchEvent(new Event('input'))"
        )
        assert run_script(browser, "rules[0].top_threshold") == 0.6
    assert run_script(browser, "rules[0].threshold") == 0.6


def test_heat_map_and_fills_are_painted(browser, page):
    open_case(browser, page, "image-100-7")
    for layer in ("heat", "fill"):
        browser.find_element(By.ID, f"viewer-show-{layer}").click()
    colours = run_script(
        browser,
        "['fills', 'heat'].map((name) => new Set(new Uint32Array(part(name).getContext('2d')"
        ".getImageData(0, 0, SIDE, SIDE).data.buffer)).size)",
    )
    assert colours[0] == 4  # nothing, truth, prediction, both
    assert colours[1] > 100


def test_filters_sort_and_search(browser, page):
    data = data_of(page)
    browser.get(f"{page.as_uri()}#/cases")
    dice = run_script(browser, "shown.map((at) => report.runs[0].dice[at])")
    assert dice == sorted(dice_of(data))
    for query, expected in (
        ("outcome=rightly+empty", lambda at: not data["truth"][at] and not data["runs"][0]["area"][at]),
        ("view=PA&sex=F", lambda at: data["view"][at] == "PA" and data["sex"][at] == "F"),
        ("side=left", lambda at: data["side"][at] == "left"),
        ("dice=0.5-1&truth=1", lambda at: data["truth"][at] and dice_of(data)[at] >= 0.5),
        ("age=20-40", lambda at: 20 <= data["age"][at] < 40),
        ("id=101-3", lambda at: "101-3" in data["id"][at]),
    ):
        browser.execute_script("location.hash = arguments[0]", f"#/cases?{query}")
        wanted = {name for at, name in enumerate(data["id"]) if expected(at)}
        assert 0 < len(wanted) < len(data["id"])
        wait(
            browser,
            lambda wanted=wanted: set(run_script(browser, "shown.map((at) => report.id[at])")) == wanted,
        )
        assert f"{len(wanted)} of {len(data['id'])} cases" in browser.find_element(By.ID, "count").text
    browser.find_element(By.ID, "clear").send_keys(Keys.ENTER)
    assert len(run_script(browser, "shown")) == len(data["id"])


def test_a_bar_of_the_histogram_leads_to_its_cases(browser, page):
    browser.get(page.as_uri())
    bar = browser.find_element(By.CSS_SELECTOR, 'a[href^="#/cases?dice="]:not([aria-label^="0 "])')
    number = int(bar.get_attribute("aria-label").split()[0])
    browser.execute_script("arguments[0].focus()", bar)
    bar.send_keys(Keys.ENTER)
    wait(browser, lambda: len(run_script(browser, "shown")) == number)


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone_in_light_and_dark(browser, page, dark):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    assert run_script(browser, "document.documentElement.scrollWidth") == 360
    ground = run_script(browser, "getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == dark
    open_case(browser, page, "image-100-5")
    assert run_script(browser, "viewer.scrollWidth") == 360
    browser.execute_script("closeCase()")
    browser.find_element(By.ID, "theme").send_keys(Keys.ENTER)
    assert run_script(browser, "getComputedStyle(document.body).backgroundColor") != ground
    browser.find_element(By.ID, "theme").send_keys(Keys.ENTER)


@pytest.mark.parametrize("width", [360, 1280])
def test_labels_of_the_scale_are_legible_and_apart_at_every_width(browser, page, width):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": width < 600},
    )
    browser.get(page.as_uri())
    boxes = run_script(
        browser,
        "[...document.querySelectorAll('#glance .chart text')].map((text) => [text.textContent.trim(), "
        "...['left', 'right', 'top', 'bottom', 'height'].map((side) => text.getBoundingClientRect()[side])])",
    )
    named = [name for name, *_ in boxes]
    for label in ("0.7886 all-empty", "0.8461 one architecture", "0.8512 42nd place", "0.8679 1st place"):
        assert label in named
    for name, left, right, *_, height in boxes:
        assert 0 < left < right < width, name
        assert height >= 9, name
    for (one, left, right, top, bottom, _), (other, *sides, _) in itertools.combinations(boxes, 2):
        apart = right <= sides[0] or sides[1] <= left or bottom <= sides[2] or sides[3] <= top
        assert apart, (one, other)


def test_every_picture_and_control_has_a_name(browser, page):
    browser.get(f"{page.as_uri()}#/cases")
    wait(browser, lambda: run_script(browser, "document.querySelectorAll('#grid img').length"))
    unnamed = run_script(
        browser,
        "[...document.querySelectorAll('img:not([alt]), .chart svg:not([aria-label]), button, select, "
        "input')].filter((part) => part.matches('img, svg') || !(part.textContent.trim() || "
        "part.ariaLabel || part.labels?.length || part.type === 'hidden')).map((part) => part.outerHTML)",
    )
    assert unnamed == []


def test_runs_stand_side_by_side(browser, root):
    assert main(["report", "one", "two", "--root", str(root)]) == 0
    page = root / "figures" / "report-one-two.html"
    one, two = (evaluate_run(run, *open_run(run)) for run in (root / "runs" / "one", root / "runs" / "two"))
    assert f"{(two.dice - one.dice).mean():+.4f}" in page.read_text()
    open_case(browser, page, "image-100-5")
    browser.find_element(By.ID, "viewer-show-other").click()
    wait(browser, lambda: run_script(browser, "outlines.other.getAttribute('d')"))
    browser.find_element(By.ID, "viewer-run").send_keys("two")
    at = two.studies["ImageId"].tolist().index("image-100-5")
    wait(browser, lambda: abs(float(run_script(browser, "viewer.dataset.dice")) - two.dice[at]) < 5e-4)


@pytest.fixture(scope="module")
def pair(root):
    """Report of both runs."""
    assert main(["report", "one", "two", "--root", str(root)]) == 0
    return root / "figures" / "report-one-two.html"


def test_the_chosen_run_is_the_one_that_grid_and_viewer_show(browser, root, pair):
    one, two = (evaluate_run(run, *open_run(run)) for run in (root / "runs" / "one", root / "runs" / "two"))
    names = one.studies["ImageId"].tolist()
    at = names.index("image-100-5")
    tile = f"tiles.get({at})"
    browser.get("about:blank")
    browser.get(f"{pair.as_uri()}#/cases?id=100-5")
    path = f"{tile}.outlines && {tile}.outlines.prediction.getAttribute('d')"
    wait(browser, lambda: run_script(browser, path))
    drawn = run_script(browser, path)
    assert f"Dice {one.dice[at]:.3f}" in run_script(browser, f"{tile}.caption.textContent")
    browser.find_element(By.NAME, "run").send_keys("two")
    wait(browser, lambda: run_script(browser, path) not in ("", drawn))
    told = run_script(browser, f"{tile}.caption.textContent")
    assert f"Dice {two.dice[at]:.3f}" in told
    assert f"+{two.dice[at] - one.dice[at]:.2f}" in told
    assert "found" in run_script(browser, f"{tile}.image.alt")
    gains = two.dice - one.dice
    browser.execute_script("location.hash = '#/cases?sort=gained'")
    wait(browser, lambda: len(run_script(browser, "shown")) == len(names))
    assert gains[run_script(browser, "shown[0]")] == gains.max()
    browser.execute_script("location.hash = arguments[0]", "#/case/image-100-5")
    wait(browser, lambda: run_script(browser, "open && open.mask && viewer.dataset.dice"))
    assert browser.find_element(By.ID, "viewer-run").get_attribute("value") == "1"
    assert float(run_script(browser, "viewer.dataset.dice")) == pytest.approx(two.dice[at], abs=5e-4)


def test_a_link_of_a_figure_shows_the_cases_that_the_figure_counts(browser, root, pair):
    run = evaluate_run(root / "runs" / "one", *open_run(root / "runs" / "one"))
    browser.get("about:blank")
    browser.get(f"{pair.as_uri()}#/cases")
    browser.find_element(By.NAME, "run").send_keys("two")
    link = run_script(browser, "document.querySelector('a[href*=\"view=AP\"]').getAttribute('href')")
    browser.execute_script("location.hash = arguments[0]", link)
    wanted = np.flatnonzero(run.positive & (run.studies["view"] == "AP").to_numpy())
    wait(browser, lambda: sorted(run_script(browser, "shown")) == wanted.tolist())
    assert browser.find_element(By.NAME, "run").get_attribute("value") == "0"
    assert "with a pneumothorax" in browser.find_element(By.ID, "count").text


@pytest.mark.parametrize("size", [(1600, 700), (900, 1000), (420, 800)], ids=str)
@pytest.mark.parametrize("name", ["one", "odd"])
def test_the_whole_radiograph_is_seen_and_zoomed_where_the_pointer_is(browser, root, name, size):
    page = report_once(root, name)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    open_case(browser, page, "image-100-5")

    def boxes():
        return run_script(
            browser,
            "[stage, sheet].map((part) => { const box = part.getBoundingClientRect(); "
            "return [box.left, box.top, box.width, box.height]; })",
        )

    (x, y, width, height), (left, top, wide, high) = boxes()
    data = data_of(page)
    assert wide / high == pytest.approx(data["width"][0] / data["height"][0], rel=0.01)
    assert max(wide / width, high / height) == pytest.approx(1, abs=0.01)  # as large as it fits
    assert left >= x - 1
    assert top >= y - 1
    assert left + wide <= x + width + 1
    assert top + high <= y + height + 1
    point = (left + 0.3 * wide, top + 0.6 * high)
    browser.execute_script(
        "stage.dispatchEvent(new WheelEvent('wheel', {deltaY: -400, clientX: arguments[0], "
        "clientY: arguments[1], cancelable: true}))",
        *point,
    )
    _, (left, top, wide, high) = boxes()
    assert float(browser.find_element(By.ID, "viewer-zoom").text[:-1]) == 2.7
    for start, side, share, at, edge, space in (
        (left, wide, 0.3, point[0], x, width),
        (top, high, 0.6, point[1], y, height),
    ):
        if side < space:  # there is room around it: it stays in the middle
            assert start + side / 2 == pytest.approx(edge + space / 2, abs=1.5)
        elif abs(start + share * side - at) > 1.5:  # it would leave a gap at one of its edges
            assert min(abs(start - edge), abs(start + side - edge - space)) < 1.5


def test_a_prediction_that_cannot_be_unpacked_is_no_dice_of_0(browser, page):
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}#/cases?outcome=found")
    browser.execute_script("delete window.DecompressionStream; location.hash = '#/case/image-100-5'")
    trouble = browser.find_element(By.ID, "viewer-trouble")
    wait(browser, trouble.is_displayed)
    assert "cannot be unpacked: this browser has no DecompressionStream" in trouble.text
    assert browser.find_element(By.ID, "viewer-dice").text == "–"
    assert run_script(browser, "viewer.dataset.dice") is None
    assert run_script(browser, "outlines.truth.getAttribute('d')")


def test_nothing_of_the_case_before_stays(browser, page):
    open_case(browser, page, "image-100-5")
    before = run_script(browser, "outlines.prediction.getAttribute('d')")
    assert before
    left = run_script(
        browser,
        "(() => { openCase(placeOf.get('image-100-7')); "
        "return [outlines.prediction.getAttribute('d'), part('dice').textContent]; })()",
    )
    assert left == ["", "–"]
    wait(browser, lambda: run_script(browser, "open.mask && viewer.dataset.dice"))


def test_a_link_that_was_cut_short_is_no_case(browser, page):
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}#/case/image%")
    wait(browser, lambda: "No picture of that case" in browser.find_element(By.ID, "count").text)


def test_runs_over_different_images_are_refused_or_compared_on_what_they_share(root, capsys):
    make_run(root, "less", 1)
    capsys.readouterr()
    report(root, "one", "less", code=2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "run less lacks 8 of 16 images in the evaluated part" in line
    assert "--common" in line
    assert not (root / "figures" / "report-one-less.html").exists()
    assert main(["report", "one", "less", "--common", "--root", str(root)]) == 0
    assert len(data_of(root / "figures" / "report-one-less.html")["id"]) == 8
    report(root, "one", "odd", code=2)
    assert main(["report", "one", "odd", "--common", "--root", str(root)]) == 2


def test_hostile_names_are_text_and_patients_stay_out_unless_asked_for(browser, tmp_path):
    names = [f"{HOSTILE}{row}" for row in range(4)]
    run = make_run(tmp_path, number=4, names=names)
    table = run / "fold0" / "out_of_fold" / "studies.csv"
    table.write_text(table.read_text().replace("patient 0", "<script>alert(1)</script>"))
    page = report(tmp_path, "hand")
    assert "alert(1)" not in page.read_text()
    assert "patient 1" not in page.read_text()
    open_case(browser, page, names[1])
    assert browser.find_element(By.ID, "viewer-title").text == names[1]
    assert browser.title == "Run hand"
    assert main(["report", "hand", "--identify", "--root", str(tmp_path)]) == 0
    open_case(browser, page, names[1])
    assert "<script>alert(1)</script>" in browser.find_element(By.ID, "viewer-facts").text


def test_of_too_many_cases_some_are_pictured_and_it_is_said(tmp_path, capsys, without_charts):
    make_run(tmp_path, number=12)
    assert main(["report", "hand", "--cases", "6", "--root", str(tmp_path)]) == 0
    page = tmp_path / "runs" / "hand" / "report.html"
    note = "6 of 12 cases are pictured, as many as --cases 6 allows"
    assert note in capsys.readouterr().err
    assert note in page.read_text()
    data = data_of(page)
    shown = [at for at, pictured in enumerate(data["pictured"]) if pictured]
    assert len(shown) == 6
    assert len(data["id"]) == 12
    worst = np.lexsort((-np.array(data["truth"]), dice_of(data)))[:3]
    assert set(worst) <= set(shown)
    assert page.read_text().count('<script type="application/json" id="case-') == 6


def test_it_is_said_where_the_page_would_be_too_large_for_all_cases(
    tmp_path, capsys, monkeypatch, without_charts
):
    make_run(tmp_path, number=4)
    monkeypatch.setattr(pictures, "LIMIT_BYTES", 1)
    report(tmp_path, "hand")
    assert "1 of 4 cases are pictured, so that the page stays below 30 MB" in capsys.readouterr().err


@pytest.mark.parametrize("newer", ["best.weights.h5", "out_of_fold/studies.csv"])
def test_a_rule_older_than_the_run_earns_no_nested_metric_and_is_warned_of(
    tmp_path, capsys, newer, without_charts
):
    decision = Decision(score=0.1234, low=0.1, high=0.2, images=8)
    run = make_run(tmp_path, decision=decision)
    text = report(tmp_path, "hand").read_text()
    assert "The metric of hand is nested" in text
    assert "0.1234" in text
    assert "older" not in capsys.readouterr().err
    os.utime(run / "fold0" / newer, ns=(2**62, 2**62))
    text = report(tmp_path, "hand").read_text()
    note = "The rule of hand is older than fold0; run `pneumothorax tune hand` again."
    assert note in text
    assert note in capsys.readouterr().err
    assert "The metric of hand is nested" not in text
    assert "0.1234" not in text


def test_the_rule_of_a_copied_run_keeps_its_nested_metric_until_a_fold_changes(
    tmp_path, capsys, without_charts
):
    decision = Decision(score=0.1234, low=0.1, high=0.2, images=8)
    run = make_run(tmp_path, decision=decision)
    folds = find_folds(run)
    for fold in folds:
        write_note(fold.out_of_fold, digest_folds([fold.weights]))
    write_decision(run / "decision.json", decision, digest_folds(fold.weights for fold in folds))
    for newer in ("fold0/best.weights.h5", "fold0/out_of_fold/studies.csv"):
        os.utime(run / newer, ns=(2**62, 2**62))
    assert "The metric of hand is nested" in report(tmp_path, "hand").read_text()
    assert "older" not in capsys.readouterr().err
    write_note(folds[0].out_of_fold, {"fold0": "of other weights"})
    assert "The rule of hand is older than fold0;" in report(tmp_path, "hand").read_text()


@pytest.mark.parametrize("damage", ["recipe", "size", "image_probability"])
def test_folds_of_several_kinds_are_one_line(tmp_path, capsys, damage):
    run = make_run(tmp_path, folds=2, number=2)
    fold = run / "fold1"
    if damage == "recipe":
        (fold / "recipe.json").write_text(to_json(replace(RECIPES["smoke"], size=96)))
    elif damage == "size":
        part = read_predictions(fold / "out_of_fold")
        write_predictions(part.folder, [part.probabilities[:, ::2, ::2].copy()], part.studies, 32)
    else:
        part = read_predictions(fold / "out_of_fold")
        part.studies.assign(image_probability=0.5).to_csv(part.folder / "studies.csv", index=False)
    report(tmp_path, "hand", code=2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "one recipe in all folds of a run" in line


def test_a_copy_of_a_fold_is_not_reported(tmp_path, without_charts):
    run = make_run(tmp_path, number=2)
    shutil.copytree(run / "fold0", run / "fold0.bak")
    assert len(data_of(report(tmp_path, "hand"))["id"]) == 2


def test_a_page_holds_no_number_that_json_does_not_know(tmp_path, monkeypatch, without_charts):
    run = make_run(tmp_path, number=2)
    table = run / "fold0" / "out_of_fold" / "studies.csv"
    studies = read_predictions(table.parent).studies
    studies.assign(age=[np.inf, 40]).to_csv(table, index=False)
    page = report(tmp_path, "hand")
    assert data_of(page)["age"] == [None, 40]
    page.unlink()
    monkeypatch.setattr(cases, "describe_cases", lambda *_, **__: {"age": [np.nan]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        report(tmp_path, "hand")
    assert not page.exists()


def test_pictures_shrink_until_they_fit(monkeypatch, tmp_path, without_charts):
    make_run(tmp_path)
    large = report(tmp_path, "hand").stat().st_size
    monkeypatch.setattr(pictures, "LIMIT_BYTES", 100_000)
    small = report(tmp_path, "hand").stat().st_size
    assert small < large - 100_000


def test_moved_radiographs_are_shown_as_prepared_or_black(tmp_path, capsys, without_charts):
    make_run(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    report(tmp_path, "hand")
    assert "The radiographs of 8 cases are not to be found: shown black." in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "nan"])
def test_a_history_without_numbers_has_no_best_epoch(tmp_path, value):
    columns = "epoch,loss,mean_dice,val_loss,val_mean_dice,learning_rate,seconds\n"
    make_run(tmp_path, history=f"{columns}1,{value},{value},{value},{value},0.001,{value}\n")
    assert "no best epoch" in report(tmp_path, "hand").read_text()


def test_a_run_without_positives_has_a_report_without_dice(browser, tmp_path):
    run = make_run(tmp_path, number=1)
    page = report(tmp_path, "hand")
    assert "No image shows a pneumothorax" in page.read_text()
    browser.get(page.as_uri())
    assert run.is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "no run"),
        (["hand", "hand"], "run hand twice"),
        (["../hand"], "expected a name without a path"),
        (["hand", "--cases", "0"], "expected a whole number"),
    ],
)
def test_mistakes_are_one_line(words, message, tmp_path, capsys):
    make_run(tmp_path, number=2)
    try:
        code = main(["report", *words, "--root", str(tmp_path)])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if "error" in line]) == 1
    assert not list(tmp_path.rglob("report*.html"))


def test_a_run_without_probabilities_is_one_line(tmp_path, capsys):
    run = make_run(tmp_path, number=2)
    (run / "fold0" / "out_of_fold").rename(tmp_path / "away")
    report(tmp_path, "hand", code=2)
    assert "no probabilities in" in capsys.readouterr().err
