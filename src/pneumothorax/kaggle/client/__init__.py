"""Client: the only package that talks to kaggle.com, by the genuine `kaggle` client.

What it adds to that: a timeout on every request, another try where Kaggle is busy, one line for each refusal,
and a look at the answers that the client passes over (an upload refused, a push with `error` set, an expired
address saved as a file). It knows nothing of runs or ledgers. `kaggle` signs in as it is imported, so
`connect` alone imports it; whoever needs this package imports it within the function that does.
"""

import contextlib
import functools
import io
import os
from pathlib import Path
from typing import Any

import requests
from kagglesdk.kaggle_env import get_access_token_from_env

from pneumothorax.errors import UserError, warn
from pneumothorax.kaggle.client.datasets import Datasets
from pneumothorax.kaggle.client.files import Files
from pneumothorax.kaggle.client.notebooks import Notebooks
from pneumothorax.kaggle.client.submissions import Submissions
from pneumothorax.kaggle.faults import TOKEN_HELP, RefusedError

__all__ = ["Client", "connect"]


class Client(Files, Submissions, Notebooks, Datasets):
    """A connection to Kaggle as one user; made by `connect`."""


def connect(timeout_seconds: float = 60, tries: int = 6) -> Client:
    """Sign in to Kaggle with the user's own credentials.

    Args:
        timeout_seconds: Time without a sign of life after which a request is given up.
        tries: How often to ask when Kaggle is busy or does not answer.

    Raises:
        UserError: There are no credentials, or Kaggle refuses them or cannot be reached.
    """
    for name in ("VERBOSE", "VERBOSE_OUTPUT"):  # with either of them the client prints the credentials
        os.environ.pop(name, None)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):  # a line's end comes along easily
        if name in os.environ:
            os.environ[name] = os.environ[name].strip()
    if not (place := _find_credentials()):
        raise UserError("no Kaggle credentials", "a token of yours", TOKEN_HELP)
    _set_timeout(timeout_seconds)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        import kaggle  # signs in as it is imported, and keeps silent about failures
    api = kaggle.api
    if "readable by other" in said.getvalue():
        warn(f"{api.config} can be read by other users of this machine; `chmod 600` it")
    client = Client(api, tries, place)
    try:
        client.ask("sign in", api.authenticate)
    except (SystemExit, TypeError) as error:  # TypeError: a kaggle.json of another shape
        raise UserError(f"{place} holds no credentials", "a whole file", TOKEN_HELP) from error
    # Where Kaggle does not know the token, the client takes a legacy key for its user, but sends the token.
    if _has_token() and not api.config_values.get(api.CONFIG_NAME_TOKEN):
        raise RefusedError(401, f"Kaggle does not know the token in {place}", "a valid token", TOKEN_HELP)
    return client


def _find_credentials() -> str:
    """Return the place of the credentials that the client will use, in its own order; '' where none is."""
    home = Path.home() / ".kaggle"
    if _has_token():
        source = get_access_token_from_env()[1]
        return str(home / source) if source == "access_token" else f"${source}"
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return "$KAGGLE_USERNAME and $KAGGLE_KEY"
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    shared = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    folders = [Path(configured)] if configured else [home, shared]
    for path in (*(folder / "kaggle.json" for folder in folders), home / "credentials.json"):
        if path.is_file():
            return str(path)
    return ""


def _has_token() -> bool:
    """Tell whether the client finds a token, which it prefers to any other credentials."""
    found = "$KAGGLE_API_TOKEN, or ~/.kaggle/access_token, holds no token"
    try:
        token = get_access_token_from_env()[0] or ""
    except (OSError, UnicodeError):  # no word of it: the token's text might be in it, as a file's name
        raise UserError(found, "a token, or a text file with one", TOKEN_HELP) from None
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{found} (odd letters)", "a token, or a text file with one", TOKEN_HELP)
    return bool(token)


def _set_timeout(seconds: float) -> None:
    """Give every request of this process a timeout: `requests` has no setting for it, the client none."""
    send = getattr(requests.Session.send, "__wrapped__", requests.Session.send)

    @functools.wraps(send)
    def bounded(session: Any, request: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or seconds
        return send(session, request, **options)

    requests.Session.send = bounded  # type: ignore[method-assign,assignment]
