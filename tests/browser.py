"""A headless browser for the tests of the pages."""

import os
from collections.abc import Iterator

import pytest
from selenium import webdriver
from tests.chromium import MISSING, find_chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    """Start headless Chromium; skipped where it is not installed, but never in CI."""
    if (found := find_chromium()) is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    binary, driver = found
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A browser at desktop size; the page that a test opens in it may leave nothing in the console."""
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.set_window_size(1280, 900)
    chromium.get("about:blank")  # a page that differs in its fragment alone would not be loaded again
    chromium.get_log("browser")
    yield chromium
    lines = chromium.get_log("browser")
    chromium.get("about:blank")  # a page whose server has ended would try to reach it for ever
    assert lines == []
