"""The parser of the command line: one line for a mistake, with the nearest name and the command's help."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from pneumothorax.errors import nearest


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; no flag may be shortened, or --fold would pass for --fold-count."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | options)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2, the message and the command whose help to read."""
        see = " See" if message.endswith("?") else "; see"
        self.exit(2, f"{self.prog}: error: {message}{see} `{self.prog} --help`\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse the words of one command, and refuse those that it does not know.

        argparse leaves these to the parser of all commands, whose help does not explain them.
        """
        words = sys.argv[1:] if args is None else list(args)
        # First: the value of an unknown flag would be taken for an argument and refused in its place.
        if unknown := next(filter(self._is_unknown, self._flags_of(words)), None):
            self.error(self._refuse(unknown.partition("=")[0]))
        found, rest = super().parse_known_args(words, namespace)
        if rest:
            meant = f"--{rest[0]}" in self._listed()
            self.error(f"unexpected argument {rest[0]!r}" + f", did you mean --{rest[0]}?" * meant)
        return found, rest

    def _flags_of(self, words: Iterable[str]) -> list[str]:
        """List the words that are flags, of which those after a command are its own."""
        words = takewhile(lambda word: word != "--", words)
        return [*(takewhile(_is_flag, words) if self._subparsers else filter(_is_flag, words))]

    def _is_unknown(self, flag: str) -> bool:
        return not {flag, flag.partition("=")[0]} & self._option_string_actions.keys()

    def _refuse(self, flag: str) -> str:
        """Describe an unknown flag, which may be the name of an argument."""
        for action in self._get_positional_actions():
            if flag.lstrip("-") == action.dest:
                name = action.metavar or action.dest.upper()
                return f"unknown flag {flag}, {name} takes no flag: `{self.prog} {name}`"
        return f"unknown flag {flag}" + ((near := nearest(flag, self._listed())) and f", {near}")

    def _listed(self) -> list[str]:
        """List the flags that the help shows."""
        actions = self._option_string_actions.items()
        return [flag for flag, action in actions if action.help != argparse.SUPPRESS]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Check a value against its choices, of which the commands are one kind.

        Raises:
            argparse.ArgumentError: It is none of them.
        """
        if action.choices is None or value in action.choices:
            return
        near = nearest(str(value), action.choices)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command {value!r}" + (near and f", {near}"))
        listed = f"expected {', '.join(map(str, action.choices))}"
        raise argparse.ArgumentError(action, f"{value!r}, {listed}" + (near and f"; {near}"))


def _is_flag(word: str) -> bool:
    """Whether argparse takes a word for a flag: no number below 0, and no text of several words."""
    return re.match(r"-[^\d\s.]", word) is not None and " " not in word.partition("=")[0]
