"""Poll Kaggle, often at first, then less so, up to a deadline."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tqdm import tqdm

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
T = TypeVar("T")


def wait_for(look: Callable[[], tuple[str, T | None]], seconds: float) -> tuple[str, T | None]:
    """Look until there is a result or the time is over.

    Args:
        look: Returns a text to show meanwhile, and the result once it is there.
        seconds: Time limit; it looks at least once.

    Returns:
        The return value of the last look.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    with tqdm(bar_format="{desc} {elapsed}", file=sys.stderr, leave=False, disable=None) as bar:
        while True:
            text, result = look()
            bar.set_description_str(text)
            if result is not None or not time.monotonic() + pause <= deadline:  # NaN ends it too
                return text, result
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
