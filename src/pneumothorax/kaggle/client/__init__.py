"""Client: the only package that talks to kaggle.com, by the genuine `kaggle` client.

It adds a timeout on every request, retries while Kaggle is busy, a one-line error for each refusal,
and checks of the responses that the client ignores (an upload refused, a push with `error` set, an expired
address saved as a file). It knows nothing of runs or ledgers. `kaggle` signs in when imported, so only
`connect` imports it; other modules import this package inside the functions that need it.
"""

import contextlib
import io
import os

from pneumothorax.errors import UserError, warn
from pneumothorax.kaggle.client import network
from pneumothorax.kaggle.client.credentials import find_credentials, has_token
from pneumothorax.kaggle.client.datasets import Datasets
from pneumothorax.kaggle.client.models import Models
from pneumothorax.kaggle.client.notebooks import Notebooks
from pneumothorax.kaggle.client.submissions import Submissions
from pneumothorax.kaggle.errors import TOKEN_HELP, RefusedError

__all__ = ["Client", "connect"]


class Client(Models, Submissions, Notebooks, Datasets):
    """A connection to Kaggle as one user; made by `connect`."""


def connect(timeout_seconds: float = 60, tries: int = 6) -> Client:
    """Sign in to Kaggle with the user's own credentials.

    Args:
        timeout_seconds: Time without a sign of life after which a request is given up.
        tries: Number of attempts while Kaggle is busy or does not answer.

    Raises:
        UserError: There are no credentials, or Kaggle refuses them or cannot be reached.
    """
    for name in ("VERBOSE", "VERBOSE_OUTPUT"):  # with either of them the client prints the credentials
        os.environ.pop(name, None)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):  # a line's end comes along easily
        if name in os.environ:
            os.environ[name] = os.environ[name].strip()
    if not (place := find_credentials()):
        raise UserError("no Kaggle credentials", "a token of yours", TOKEN_HELP)
    network.set_timeout(timeout_seconds)
    network.ignore_netrc()
    network.check_certificates()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        import kaggle  # signs in when imported, and hides failures
    api = kaggle.api
    if "readable by other" in said.getvalue():
        warn(f"{api.config} can be read by other users of this machine; `chmod 600` it")
    client = Client(api, tries, place)
    try:
        client.ask("sign in", api.authenticate)
    except (SystemExit, TypeError) as error:  # TypeError: a kaggle.json of another shape
        raise UserError(f"{place} holds no credentials", "a whole file", TOKEN_HELP) from error
    # Where Kaggle does not know the token, the client takes a legacy key for its user, but sends the token.
    if has_token() and not api.config_values.get(api.CONFIG_NAME_TOKEN):
        raise RefusedError(401, f"Kaggle does not know the token in {place}", "a valid token", TOKEN_HELP)
    return client
