"""The error type for user mistakes, and `warn`."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A user mistake, in one line: the found and the expected value, and the remedy.

    The command line prints it without a traceback and exits with code 2.

    Args:
        found: The mistake, with the name of the file, row or flag.
        expected: The value expected in its place; may be empty.
        remedy: The next step; may be empty.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        parts = [found, expected and f"expected {expected}", remedy]
        super().__init__("; ".join(" ".join(part.split()) for part in parts if part))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Survive pickling on the way back from a worker process."""
        return type(self), (self.found, self.expected, self.remedy)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    print(f"pneumothorax: warning: {text}", file=sys.stderr)


def nearest(word: str, names: Iterable[str]) -> str:
    """Return the question after the name that resembles a word most; empty if none does."""
    found = get_close_matches(word, list(names), n=1)
    return f"did you mean {found[0]}?" if found else ""
