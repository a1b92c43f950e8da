"""Connection: every call of the genuine client goes through `ask`, which retries and explains errors.

Prints no credentials and stores none.
"""

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3

from pneumothorax.errors import UserError
from pneumothorax.kaggle.errors import Fault, explain, read_fault

PAGE = 200  # the most rows that Kaggle puts on a page
T = TypeVar("T")


class Connection:
    """A signed-in user's connection to Kaggle.

    Args:
        api: The signed-in `KaggleApi`.
        tries: Number of attempts while Kaggle is busy or does not answer.
        place: Place of the credentials, for messages.
    """

    def __init__(self, api: Any, tries: int, place: str) -> None:
        self._api, self.tries, self.place = api, tries, place

    @property
    def user(self) -> str:
        """The name of the user who is signed in."""
        return str(self._api.get_config_value("username") or "")

    def ask(
        self, doing: str, call: Callable[..., T], *words: Any, repeatable: bool = True, **options: Any
    ) -> T:
        """Call the client, again while Kaggle is busy.

        Args:
            doing: Purpose of the call, such as 'list the submissions'.
            call: Function that is called with `words` and `options`.
            words: Positional arguments.
            repeatable: Whether a second call does no harm if the first had an effect without an answer.
            options: Keyword arguments.

        Raises:
            UserError: Kaggle refuses, or did not answer: `RefusedError` or `LostError`.
        """
        for attempt in range(1, self.tries + 1):
            try:
                # stdout is for our results alone, and the client prints there.
                with contextlib.redirect_stdout(io.StringIO()):
                    return call(*words, **options)
            except UserError:
                raise
            except Exception as error:
                if _is_misread(error):
                    raise explain(read_fault(ValueError()), doing, self.place) from error
                if not _is_known(error):
                    raise
                fault = read_fault(error)
                # A call that is not repeatable is repeated only where Kaggle says that it did nothing.
                if attempt == self.tries or not fault.passing or not (repeatable or fault.status == 429):
                    raise explain(fault, doing, self.place) from error
                self._wait(fault, doing, attempt)
        raise AssertionError("unreachable")

    def _wait(self, fault: Fault, doing: str, attempt: int) -> None:
        seconds = fault.pause(attempt)
        reason = f"{fault.status} {fault.text}".removeprefix("0 ")
        print(
            f"{doing}: {reason}; asking again in {seconds:.0f} s (try {attempt + 1} of {self.tries})",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(seconds)


def _is_misread(error: Exception) -> bool:
    """Return whether the client failed to parse a response, for instance one with an unknown enum value."""
    frames = traceback.extract_tb(error.__traceback__)
    within = any("kagglesdk" in Path(frame.filename).parts for frame in frames)
    misread = not isinstance(error, requests.RequestException) or isinstance(error, requests.JSONDecodeError)
    return within and misread and isinstance(error, KeyError | TypeError | AttributeError | ValueError)


def _is_known(error: Exception) -> bool:
    """Return whether an exception comes from the connection; any other is a bug of the program."""
    if type(error) is OSError:  # as `requests` itself raises where it finds no certificates
        frames = traceback.extract_tb(error.__traceback__)
        return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(requests.__file__).parent)
    return isinstance(
        error, requests.RequestException | urllib3.exceptions.HTTPError | ConnectionError | ValueError
    )
