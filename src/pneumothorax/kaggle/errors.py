"""Turn Kaggle client exceptions into one-line errors with a remedy.

Opens no connection and does not import the client: a failed request carries its response.
"""

import random
from dataclasses import dataclass
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.kaggle import COMPETITION

RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
SETTINGS = "https://www.kaggle.com/settings"
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that another try may change
TOKEN_HELP = (
    f"make a token on {SETTINGS} (API, Generate New Token) and put it into $KAGGLE_API_TOKEN or the file "
    "~/.kaggle/access_token; a legacy key goes into $KAGGLE_USERNAME and $KAGGLE_KEY or ~/.kaggle/kaggle.json"
)
_LONGEST_WAIT_SECONDS = 60.0


class RefusedError(UserError):
    """A request that Kaggle refused; it would refuse the same again.

    Args:
        status: HTTP status, or 0.
        words: Arguments of `UserError`.
    """

    def __init__(self, status: int, *words: str) -> None:
        super().__init__(*words)
        self.status = status

    def __reduce__(self) -> Any:
        """Survive pickling on the way back from a worker process."""
        return type(self), (self.status, self.found, self.expected, self.remedy)


class LostError(UserError):
    """No answer came: the request may or may not have had an effect."""


@dataclass(frozen=True)
class Fault:
    """A failed request.

    Attributes:
        status: HTTP status; 0 if no answer came.
        text: Kaggle's message, or the cause, in one line.
        wait_seconds: Wait that Kaggle asks for; None without one.
        passing: Whether another try may succeed.
        local: Whether the client itself refused, without asking Kaggle.
    """

    status: int
    text: str
    wait_seconds: float | None
    passing: bool
    local: bool = False

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait before the next try: as Kaggle asks, else 1, 2, 4 ... with jitter."""
        if self.wait_seconds is not None:
            return self.wait_seconds
        return min(2.0 ** (attempt - 1) * (1 + random.random() / 4), _LONGEST_WAIT_SECONDS)


def read_fault(error: Exception) -> Fault:
    """Read status, message and Retry-After from an exception of the client."""
    response = getattr(error, "response", None)
    if response is None or response.status_code < 400:
        wrong_proxy = type(error).__name__ == "InvalidProxyURL"
        if type(error) in (ValueError, OSError) and str(error):
            return Fault(0, " ".join(str(error).split()), None, passing=False, local=True)
        # An answer of 200 that is not JSON: a login page, a proxy's page, a page of maintenance.
        if isinstance(error, ValueError) and not wrong_proxy:
            return Fault(0, "an answer that is not Kaggle's", None, passing=False)
        unknown = "Name or service not known" in str(error) or "NameResolution" in repr(error)
        return Fault(0, _reason(error), None, passing=not unknown and not wrong_proxy)
    status = response.status_code
    return Fault(status, _message(response), _retry_after(response), passing=status in BUSY)


def explain(fault: Fault, doing: str, place: str) -> UserError:
    """Turn a fault into the error that a user reads.

    Args:
        fault: The failed request.
        doing: Purpose of the request, such as 'list the files of the competition'.
        place: Place of the credentials.
    """
    status, text = fault.status, fault.text
    start = f"could not {doing}: "
    if fault.local:
        return RefusedError(0, start + text)
    if status == 0:
        if not fault.passing and text.startswith("an answer"):
            return RefusedError(
                0, start + text, "Kaggle's", "is a proxy or a login page in between? try again later"
            )
        return LostError(
            start + text, "a connection to kaggle.com", "check it, and run the same command again"
        )
    if status == 401:
        return RefusedError(
            status, f"{start}Kaggle refused the credentials in {place} (401)", "a valid token", TOKEN_HELP
        )
    if status == 403 and "rules" in text.lower():
        return RefusedError(
            status,
            f"{start}{text}",
            "the competition's rules accepted, which only a browser can do",
            f"open {RULES}, accept, and run the same command again",
        )
    if status == 429:
        return RefusedError(
            status, f"{start}Kaggle is asked too often (429)", "", "wait some minutes, then try again"
        )
    if status >= 500:
        return LostError(f"{start}Kaggle answers {status} {text}", "", "try again later")
    return RefusedError(status, f"{start}Kaggle answers {status} {text}")


def _message(response: Any) -> str:
    """Return the message in an error's body, in Kaggle's flat or nested form."""
    try:
        body = response.json()
    except ValueError:
        return str(response.reason or "")
    if isinstance(body, dict):
        nested = body.get("error")
        for part in (body, nested if isinstance(nested, dict) else {}):
            if isinstance(part.get("message"), str) and part["message"]:
                return " ".join(part["message"].split())[:300]
    return str(response.reason or "")


def _retry_after(response: Any) -> float | None:
    """Return the seconds of a Retry-After header; None for its rare form with a date."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), 600.0) if text.isdecimal() else None


def _reason(error: Exception) -> str:
    """Name a lost connection in few words: urllib3's own message is long and holds the address."""
    name = type(error).__name__
    if type(error) is ConnectionError:  # ours
        return str(error)
    words = {
        "ReadTimeout": "no sign of life within the timeout",
        "ConnectTimeout": "no connection within the timeout",
        "ProxyError": "the proxy broke off, or does not let it through",
        "InvalidProxyURL": "the environment names a proxy that is not an address",
        "SSLError": "no secure connection (a certificate that does not fit)",
        "ChunkedEncodingError": "the connection broke off",
    }
    if name in words:
        return words[name]
    if "NameResolution" in repr(error) or "Name or service not known" in str(error):
        return "the name kaggle.com cannot be resolved (no internet?)"
    if "timed out" in str(error).lower():
        return words["ReadTimeout"]
    return f"the connection broke off ({name})"
