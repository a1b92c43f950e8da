"""Credentials: find the user's own in the client's order, and refuse those that cannot work.

Prints none of them and stores none. The client reads the files itself; a file that it would misread is read
here, and handed to it through the environment of this process.
"""

import codecs
import json
import os
from pathlib import Path

from kagglesdk.kaggle_env import get_access_token_from_env

from pneumothorax.errors import UserError
from pneumothorax.kaggle.errors import TOKEN_HELP

TOKEN_PREFIX = "KGAT_"  # of the tokens that Kaggle makes today; legacy keys are hexadecimal digits
# Windows' editors and shells begin a file with a byte-order mark, which the client takes for content.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def find_credentials() -> str:
    """Return the place of the credentials that the client will use, in its own order; '' without any.

    Raises:
        UserError: They cannot work: a token that is not text, or a token in place of a legacy key.
    """
    home = Path.home() / ".kaggle"
    if path := _take_marked_token(home):
        has_token()  # checks it
        return str(path)
    if has_token():
        source = get_access_token_from_env()[1]
        return str(home / source) if source == "access_token" else f"${source}"
    if os.environ.get("KAGGLE_USERNAME") and (key := os.environ.get("KAGGLE_KEY")):
        _refuse_token(key, "$KAGGLE_KEY", "unset it")
        return "$KAGGLE_USERNAME and $KAGGLE_KEY"
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    shared = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    folders = [Path(configured)] if configured else [home, shared]
    for path in (folder / "kaggle.json" for folder in folders):
        if path.is_file():
            _check_key(path)
            return str(path)
    path = home / "credentials.json"
    return str(path) if path.is_file() else ""


def has_token() -> bool:
    """Return whether the client finds a token, which it prefers to any other credentials.

    Raises:
        UserError: The token that it finds is not a valid one.
    """
    found = "$KAGGLE_API_TOKEN, or ~/.kaggle/access_token, holds no token"
    try:
        token = get_access_token_from_env()[0] or ""
    except (OSError, UnicodeError):  # the error is not shown: its file name may be the token
        raise UserError(found, "a token, or a text file with one", TOKEN_HELP) from None
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{found} (odd letters)", "a token, or a text file with one", TOKEN_HELP)
    return bool(token)


def _take_marked_token(home: Path) -> Path | None:
    """Hand the client the token of the file that it would read, if that begins with a byte-order mark."""
    named = os.environ.get("KAGGLE_API_TOKEN")
    for path in [Path(named)] if named else [home / "access_token", home / "access_token.txt"]:
        try:
            content = path.read_bytes()
        except OSError:  # not there; or the name is the token itself
            continue
        token = _decode_marked(content)
        if token is None and content.strip():
            return None
        if token and token.strip():
            os.environ["KAGGLE_API_TOKEN"] = token.strip()
            return path
    return None


def _check_key(path: Path) -> None:
    """Refuse a token in kaggle.json, and hand the client a file that begins with a byte-order mark."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    text = _decode_marked(content)
    try:
        values = json.loads(content if text is None else text)
    except (ValueError, RecursionError):  # the client refuses it, unless it is a token alone
        _refuse_token((text or content.decode(errors="replace")).strip(), str(path), "delete that file")
        return
    if not isinstance(values, dict):
        return
    _refuse_token(str(values.get("key", "")), str(path), "delete that file")
    if text is not None:
        for name in ("username", "key"):
            if isinstance(values.get(name), str):
                os.environ.setdefault(f"KAGGLE_{name.upper()}", values[name])


def _decode_marked(content: bytes) -> str | None:
    """Return the text of a file that begins with a byte-order mark; None for any other, or a broken one."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeError:
                return None
    return None


def _refuse_token(key: str, place: str, cure: str) -> None:
    if key.strip().startswith(TOKEN_PREFIX):
        raise UserError(
            f"{place} holds a token ({TOKEN_PREFIX}...) in the place of a legacy key",
            "the token in the file ~/.kaggle/access_token or in $KAGGLE_API_TOKEN, without a user name",
            f"move it there, and {cure}",
        )
