"""The one error type for what a user can mend, the one way to warn, and the name that was meant."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user's, told in one line: what was found, what was expected, what to do.

    The command line prints it without a traceback and exits with code 2.

    Args:
        found: What is wrong, with the name of the file, row or flag.
        expected: What was expected in its place; may be empty.
        remedy: What to do next; may be empty.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        parts = [found, expected and f"expected {expected}", remedy]
        super().__init__("; ".join(" ".join(part.split()) for part in parts if part))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Survive the way back from a worker process."""
        return type(self), (self.found, self.expected, self.remedy)


def warn(text: str) -> None:
    """Say on stderr what the user should know, and go on."""
    print(f"pneumothorax: warning: {text}", file=sys.stderr)


def nearest(word: str, names: Iterable[str]) -> str:
    """Return the question after the name that resembles a word most; empty if none does."""
    found = get_close_matches(word, list(names), n=1)
    return f"did you mean {found[0]}?" if found else ""
