"""Formatting of numbers and names on pages, in figures and tables."""

import os


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as '1 image' or '1,200 images'."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def shorten(name: str) -> str:
    """Return a name, or the end of a long one."""
    return name if len(name) <= 24 else f"...{name[-21:].lstrip('.')}"


def printable(name: str) -> str:
    """Return a file's name as one line of printable text."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def plain(name: str) -> str:
    """Escape a name for matplotlib: no formula, and not hidden from a legend."""
    shown = printable(name)
    return " " * shown.startswith("_") + shown.replace("$", r"\$")
