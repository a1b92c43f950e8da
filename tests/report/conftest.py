"""The browser of these tests."""

from tests.browser import browser, chromium  # noqa: F401
