"""The headless browser that the pages are tested in."""

import shutil

MISSING = "no Chromium with its driver (Debian: apt-get install chromium chromium-driver)"


def find_chromium() -> tuple[str, str] | None:
    """Return the programs of the browser and of its driver; None where one is not installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    return (binary, driver) if binary and driver else None
