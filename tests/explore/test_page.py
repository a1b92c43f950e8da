"""The page on the data: what it tells, what it does in a browser, and how it fails."""

import re
import shutil

import cv2
import numpy as np
import pydicom
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from pneumothorax.cli import main
from pneumothorax.data.studies import find_studies

HOSTILE = "<script>document.title='owned'<"


def explore(root, *words):
    code = main(["explore", "--size", "32", "--workers", "1", "--root", str(root), *words])
    return code, root / "figures" / "explore.html"


@pytest.fixture(scope="module")
def root(competition, tmp_path_factory):
    root = tmp_path_factory.mktemp("explore")
    (root / "data").mkdir()
    shutil.copytree(competition / "raw", root / "data" / "raw")
    assert explore(root)[0] == 0
    return root


@pytest.fixture(scope="module")
def page(root):
    return root / "figures" / "explore.html"


@pytest.mark.slow
def test_counts_folds_and_missing_things_are_told(root, page):
    text = page.read_text()
    counts = find_studies(root / "data" / "raw").counts
    for name, count in counts.items():
        assert re.search(rf"{name}</th><td>{count:,}</td>", text)
    assert "They share 0 patients" in text
    assert len(text) < 2_000_000


def test_no_patient_and_nothing_from_elsewhere_is_on_the_page(root, page):
    text = page.read_text()
    for path in (root / "data" / "raw").rglob("*.dcm"):
        patient = str(pydicom.dcmread(path, stop_before_pixels=True).get("PatientID", ""))
        assert not patient or patient not in text
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone_in_light_and_dark(browser, page, dark):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(ground)
    assert (sum(map(int, re.findall(r"\d+", before))) < 200) == dark
    for _ in range(2):
        browser.find_element(By.ID, "theme").send_keys(Keys.ENTER)
    assert browser.execute_script(ground) == before
    assert browser.execute_script("return document.querySelectorAll('img:not([alt])').length") == 0


@pytest.mark.slow
def test_the_same_command_again_decodes_nothing(root, monkeypatch):
    monkeypatch.setattr("pneumothorax.data.dicom.read_radiograph", None)
    assert explore(root)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "old", "new"),
    [("cache.json", "note of a cache", "{", "["), ("studies.csv", "table of studies", "area", "are")],
)
def test_a_damaged_cache_is_one_line_and_the_page_is_the_same(root, page, capsys, name, kind, old, new):
    before = page.read_text()
    path = next((root / "data" / "cache").glob("32-*/train")) / name
    path.write_text(path.read_text().replace(old, new, 1))
    assert explore(root)[0] == 0
    assert page.read_text() == before
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(told) == 1
    assert told[0].startswith(f"pneumothorax: warning: {path} is no {kind} (")


def test_test_images_alone_make_a_page_that_says_so(competition, tmp_path, browser):
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    shutil.copytree(competition / "raw" / "stage_2_images", raw / "stage_2_images")
    shutil.copy(competition / "raw" / "stage_2_sample_submission.csv", raw)
    code, page = explore(tmp_path)
    assert code == 0
    assert "There is no training image" in page.read_text()
    browser.get(page.as_uri())
    assert browser.find_elements(By.ID, "odd")


def make_images(root, names, rows=""):
    folder = root / "data" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in names:
        image = cv2.GaussianBlur(generator.integers(0, 256, (1024, 1024)).astype(np.float32), (0, 0), 30)
        data = cv2.imencode(".png", cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX))[1]
        (folder / f"{name}.png").write_bytes(data.tobytes())
    lines = "".join(f'"{name}",-1\n' for name in names)
    (folder / "train-rle.csv").write_text("ImageId,EncodedPixels\n" + lines + rows)


@pytest.mark.slow
def test_hostile_names_are_text(tmp_path, browser):
    make_images(tmp_path, [f"{HOSTILE}{at}" for at in range(3)])
    code, page = explore(tmp_path, "--fold-count", "2")
    assert code == 0
    browser.get(page.as_uri())
    assert browser.title == "The data"
    assert HOSTILE in browser.find_element(By.ID, "samples").text


@pytest.mark.slow
def test_hostile_tags_are_text_or_absent(competition, tmp_path, browser):
    raw = tmp_path / "data" / "raw"
    shutil.copytree(competition / "raw", raw)
    for path in sorted((raw / "dicom-images-train").rglob("*.dcm"))[:9]:
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "<script>document.title='owned'</script>"
        dataset.add(pydicom.DataElement(0x00185101, "LO", "<B>$_$"))
        dataset.PatientName, dataset.StudyDate = "Nemo^Captain", "18700101"
        dataset.save_as(path)
    code, page = explore(tmp_path, "--fold-count", "3")
    assert code == 0
    text = page.read_text()
    assert not re.search("owned|Nemo|1870", text)
    browser.get(page.as_uri())
    assert browser.title == "The data"
    assert "view <B>$_$" in browser.find_element(By.ID, "glance").text
    assert "<B>$_$" in browser.find_element(By.CSS_SELECTOR, "#groups svg").text


@pytest.mark.slow
def test_images_that_cannot_be_read_are_counted(tmp_path):
    make_images(tmp_path, ["one", "two", "broken"])
    (tmp_path / "data" / "raw" / "broken.png").write_bytes(b"no picture")
    assert explore(tmp_path)[0] == 2
    code, page = explore(tmp_path, "--skip-bad", "--fold-count", "2")
    assert code == 0
    assert "1 image could not be read: left out" in page.read_text()


def test_one_healthy_image_of_nobody_makes_a_page_that_says_so(tmp_path):
    make_images(tmp_path, ["alone"])
    code, page = explore(tmp_path)
    assert code == 0
    text = page.read_text()
    for told in ("No image shows a pneumothorax", "There is no test image", "No image names its patient"):
        assert told in text
    assert "There are no folds: 1 patient; expected at least 5" in text


@pytest.mark.parametrize("there", [False, True])
def test_without_data_or_images_one_line_and_no_page(tmp_path, capsys, there):
    if there:
        (tmp_path / "data" / "raw").mkdir(parents=True)
    code, page = explore(tmp_path)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("pneumothorax: error: no ")
    assert len(err.splitlines()) == 1
    assert not page.exists()
