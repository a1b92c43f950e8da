"""Waits for events, and the one deadline of the tests: it ends a hang and judges no speed."""

import time
from collections.abc import Callable

HANG_SECONDS = 600.0


def wait_until(there: Callable[[], object], pause_seconds: float = 0.02) -> None:
    """Wait until `there` answers with something true; fails where that never happens."""
    deadline = time.monotonic() + HANG_SECONDS
    while not there():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause_seconds)


def hang(*_: object) -> None:
    """Stand for work that takes long."""
    time.sleep(HANG_SECONDS)
