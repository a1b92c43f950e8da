"""Numbers and names as the pages, figures and tables of this package write them."""

import os


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as '1 image' or '1,200 images'."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def shorten(name: str) -> str:
    """Return a name, or of a long one its end."""
    return name if len(name) <= 24 else f"...{name[-21:].lstrip('.')}"


def printable(name: str) -> str:
    """Write a file's name in one line of printable text."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def plain(name: str) -> str:
    """Return a name as matplotlib shows it letter by letter: no formula, and not hidden from a legend."""
    shown = printable(name)
    return " " * shown.startswith("_") + shown.replace("$", r"\$")
