"""The page in a browser: real uploads, at the width of a desk and of a phone, in light and in dark."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from tests.browser import browser, chromium  # noqa: F401
from tests.inference.echo import PLAIN, headed, make_run
from tests.inference.onnx_files import export_echo
from tests.waiting import wait_until

from pneumothorax.inference.decision import Decision
from pneumothorax.inference.rule import Rule

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("gradio", "onnxruntime")),
        reason="Gradio is not installed: pip install -e '.[app]'",
    ),
]
# Notes every address that the server's process asks for or connects to, and runs the command.
SERVER = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        host = address[0] if isinstance(address, tuple) else address
        if host not in ("127.0.0.1", "localhost", "::1", None):
            with open(os.environ["ASKED"], "a") as file:
                file.write(f"{event} {address}\\n")
sys.addaudithook(note)
from pneumothorax.cli import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
MAX_MB = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return the folders of a server: its home, working folder, temporary files, and downloads."""
    place = tmp_path_factory.mktemp("app")
    for name in ("home", "work", "temporary", "downloads"):
        (place / name).mkdir()
    return place


@pytest.fixture(scope="module")
def served(place):
    """Start the command on any free port; return its address. At the end nothing may be left of it."""
    run = make_run(place, recipe=headed(PLAIN))
    file = export_echo(run, place / "echo.onnx", tuned=Decision(Rule(0.35, 0.6, 100), score=0.8, images=9))
    environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HOME": str(place / "home"), "TMPDIR": str(place / "temporary")}
    environment |= {"ASKED": str(place / "asked"), "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    (place / "server.py").write_text(SERVER)
    words = ["app", "--model", file, "--port", "0", "--max-mb", MAX_MB]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, place / "server.py", *map(str, words)],
            cwd=place / "work",
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Ctrl-C ends it" in (place / "log").read_text() or process.poll() is not None)
        text = (place / "log").read_text()
        assert process.poll() is None, text
        yield text.split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in (place / "log").read_text()
    assert list((place / "temporary").iterdir()) == []
    assert list((place / "work").iterdir()) == []
    kept = [path for path in (place / "home").rglob("*") if path.is_file()]
    assert [path for path in kept if not path.name.startswith("fontlist")] == []  # matplotlib's, of fonts
    assert not (place / "asked").exists(), (place / "asked").read_text()


@pytest.fixture(scope="module")
def images(place, competition):
    """A DICOM of the artificial competition, a PNG with a bright part, and a file that is neither."""
    dicom = pydicom.dcmread(sorted((competition / "raw").rglob("*.dcm"))[0])
    dicom.save_as(place / "chest.dcm")
    pixels = np.full((300, 400), 20, np.uint8)
    pixels[50:150, 40:120] = 240
    (place / "bright.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (place / "archive.zip").write_bytes(b"PK\3\4" + bytes(500))
    return [place / "chest.dcm", place / "bright.png", place / "archive.zip"]


def find(browser, selector):  # noqa: F811
    return browser.find_elements(By.CSS_SELECTOR, selector)


def text_of(browser, selector):  # noqa: F811
    return browser.execute_script(f"return document.querySelector({selector!r})?.innerText ?? ''")


def opened(browser, address):  # noqa: F811
    browser.get(address)
    wait_until(lambda: find(browser, "#files input[type=file]"))


def drop(browser, *paths):  # noqa: F811
    (field,) = find(browser, "#files input[type=file]")
    field.send_keys("\n".join(map(str, paths)))


def no_errors(browser):  # noqa: F811
    """Check the console; Gradio warns of a method of its own that is not there."""
    lines = [line for line in browser.get_log("browser") if "Method not implemented" not in line["message"]]
    assert lines == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_uploads_are_shown_at_every_width_in_light_and_dark(served, images, browser, width, scheme):  # noqa: F811
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == 390}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened(browser, served)
    drop(browser, *images)
    wait_until(lambda: len(find(browser, "#result img")) == 2)
    wait_until(lambda: "archive.zip: " in text_of(browser, "#messages"))
    assert "1,024 × 1,024 pixels" in text_of(browser, "#result")
    wait_until(lambda: len(find(browser, "#picker label")) == 2)
    names = [label.text.split(":")[0] for label in find(browser, "#picker label")]
    assert names == ["chest.dcm", "bright.png"]
    script = "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    wide, ground = browser.execute_script(script)
    assert wide <= width
    assert (sum(map(int, ground.strip("rgb()").split(","))) < 3 * 128) == (scheme == "dark")
    for picture in find(browser, "#result img"):
        assert 0 < picture.size["width"] <= width
        assert browser.execute_script("return arguments[0].naturalWidth", picture) == 1024
    browser.execute_script("window.scrollTo(0, document.documentElement.scrollHeight)")
    banner = "const r = document.querySelector('#research').getBoundingClientRect(); return [r.top, r.bottom]"
    top, bottom = browser.execute_script(banner)
    assert 0 <= top < bottom <= 200
    assert "Research use only, not a diagnosis" in text_of(browser, "#research")
    no_errors(browser)


def test_the_threshold_moves_the_outline_and_masks_are_saved(served, images, place, browser):  # noqa: F811
    behaviour = {"behavior": "allow", "downloadPath": str(place / "downloads")}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    opened(browser, served)
    drop(browser, images[1])
    wait_until(lambda: "patient's right" in text_of(browser, "#result"))
    assert find(browser, "#save-seg")[0].get_attribute("disabled")
    (number,) = find(browser, "#threshold input[type=number]")
    assert number.get_attribute("value") == "0.35"
    number.send_keys(Keys.CONTROL, "a")
    number.send_keys("0.01", Keys.ENTER)
    wait_until(lambda: "120,000 pixels (100.0% of the image)" in text_of(browser, "#result"))
    find(browser, "#save-mask")[0].click()
    saved = place / "downloads" / "bright-mask.png"
    wait_until(saved.exists)
    mask = cv2.imread(str(saved), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (300, 400)
    assert (mask == 255).all()
    no_errors(browser)


@pytest.mark.skipif(find_spec("highdicom") is None, reason="pip install -e '.[app]'")
def test_a_dicom_segmentation_is_saved(served, images, place, browser):  # noqa: F811
    behaviour = {"behavior": "allow", "downloadPath": str(place / "downloads")}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    opened(browser, served)
    drop(browser, images[0])
    wait_until(lambda: len(find(browser, "#result img")) == 2)
    wait_until(lambda: not find(browser, "#save-seg")[0].get_attribute("disabled"))
    find(browser, "#save-seg")[0].click()
    saved = place / "downloads" / "chest-seg.dcm"
    wait_until(saved.exists)
    made, source = pydicom.dcmread(saved), pydicom.dcmread(images[0])
    assert (made.Modality, made.Rows, made.PatientID) == ("SEG", source.Rows, source.PatientID)
    no_errors(browser)


def test_too_many_too_large_and_hostile_files_leave_the_page_alive(served, images, place, browser):  # noqa: F811
    large = place / "large.dcm"
    large.write_bytes(bytes((MAX_MB << 20) + 1))
    many = [place / f"{number}.png" for number in range(11)]
    for path in many:
        path.write_bytes(images[1].read_bytes())
    opened(browser, served)
    drop(browser, large)
    wait_until(lambda: "exceed the maximum allowed size of 2" in text_of(browser, "body"))
    browser.get_log("browser")  # the browser's own line on the refusal
    opened(browser, served)
    drop(browser, *many)
    wait_until(lambda: "11 files; drop 10 at most" in text_of(browser, "#messages"))
    drop(browser, images[2])
    wait_until(lambda: "archive.zip: this is not a DICOM" in text_of(browser, "#messages"))
    drop(browser, images[1])
    wait_until(lambda: len(find(browser, "#result img")) == 2)
    assert text_of(browser, "#messages") == ""
    left = [path for path in (place / "temporary").rglob("*") if path.is_file()]
    assert left == []
    no_errors(browser)


def test_the_page_asks_no_other_server_and_keeps_nothing_in_the_browser(served, images, browser):  # noqa: F811
    opened(browser, served)
    drop(browser, images[0])
    wait_until(lambda: len(find(browser, "#result img")) == 2)
    script = "return performance.getEntriesByType('resource').map(one => one.name)"
    asked = browser.execute_script(script)
    assert asked
    assert [one for one in asked if not one.startswith((served, "data:", "blob:"))] == []
    kept = browser.execute_script("return [localStorage.length, document.cookie]")
    assert "chest" not in json.dumps([browser.execute_script("return {...localStorage}"), kept])
    no_errors(browser)


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/", {"Host": "elsewhere.example"}, 400),
        ("/gradio_api/file=/etc/passwd", {}, 403),
        ("/gradio_api/file=../echo.onnx", {}, 403),
    ],
)
def test_other_addresses_and_files_are_refused(served, path, headers, code):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(served + path, headers=headers))
    caught.value.close()
    assert caught.value.code == code


def test_a_policy_forbids_all_else(served):
    with urllib.request.urlopen(served) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    assert "fonts.googleapis" not in page
    assert Path("/etc/passwd").name not in page
