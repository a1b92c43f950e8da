"""Network: settings of `requests` for this process, whose requests the client makes."""

import functools
import os
import ssl
from pathlib import Path
from typing import Any

import requests

from pneumothorax.errors import UserError

CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # of `requests`, in its own order


def set_timeout(seconds: float) -> None:
    """Give every request of this process a timeout: `requests` has no setting for it, the client none."""
    send = getattr(requests.Session.send, "__wrapped__", requests.Session.send)

    @functools.wraps(send)
    def bounded(session: Any, request: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or seconds
        return send(session, request, **options)

    requests.Session.send = bounded  # type: ignore[method-assign,assignment]


def ignore_netrc() -> None:
    """Stop `requests` from reading passwords in a .netrc.

    It adds them to requests without credentials, by the entry `default` to any host at all: the
    store refuses a signed address with a password, and should not see it.
    """
    os.environ["NETRC"] = os.devnull


def check_certificates() -> None:
    """Check the certificates that the environment names for secure connections.

    Raises:
        UserError: They are not there, cannot be read, or are no certificates.
    """
    for name in CERTIFICATES:
        if path := os.environ.get(name):
            kind = "capath" if Path(path).is_dir() else "cafile"
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{kind: path})
            except OSError as error:  # of the ssl module as well
                raise UserError(
                    f"${name} names {path}, which cannot be used ({error.strerror or error})",
                    "a file (PEM) or a folder of certificates",
                    f"correct {name}, or unset it to use those that come with Python's requests",
                ) from None
            return
