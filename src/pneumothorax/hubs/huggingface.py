"""Hugging Face: the one door to `huggingface_hub`, an extra; its telemetry and its own storage are off.

Sign in with a token of the user's (``$HF_TOKEN``, or `hf auth login`); public models are read without one.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pneumothorax.errors import UserError

SETTINGS = "https://huggingface.co/settings/tokens"
TOKEN_HELP = f"make a token with write access on {SETTINGS} and put it into $HF_TOKEN, or run `hf auth login`"
EXTRA = "pip install -e '.[huggingface]'"
AGAIN = "check it, and run the same command again: it resumes"
T = TypeVar("T")


class Connection:
    """A connection to Hugging Face, with the user's token if there is one.

    Args:
        timeout_seconds: Time without a sign of life after which a request is given up.

    Raises:
        UserError: huggingface_hub is not installed.
    """

    def __init__(self, timeout_seconds: float = 60) -> None:
        # Read as it is imported.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        os.environ["HF_HUB_DISABLE_XET"] = "1"  # plain HTTP: its uploads resume by file, and take a proxy
        os.environ["HF_HUB_DISABLE_UPDATE_CHECK"] = "1"
        if os.environ.get("HF_TOKEN"):
            os.environ["HF_TOKEN"] = os.environ["HF_TOKEN"].strip()
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = os.environ["HF_HUB_ETAG_TIMEOUT"] = f"{timeout_seconds:.0f}"
        try:
            import huggingface_hub
        except ModuleNotFoundError as error:
            if error.name != "huggingface_hub":
                raise
            raise UserError(
                "Hugging Face needs huggingface_hub, which is not installed", remedy=EXTRA
            ) from None
        huggingface_hub.logging.set_verbosity_error()
        if not sys.stderr.isatty():
            huggingface_hub.utils.disable_progress_bars()
        huggingface_hub.get_session().timeout = timeout_seconds
        self._hub: Any = huggingface_hub
        self._api = huggingface_hub.HfApi(library_name="pneumothorax")

    def sign_in(self) -> str:
        """Return the name of the user whose token is used.

        Raises:
            UserError: There is no token, or Hugging Face does not know it.
        """
        if not self._hub.get_token():
            raise UserError("no token of Hugging Face", "a token of yours", TOKEN_HELP)
        return str(self._ask("sign in", self._api.whoami)["name"])

    def list_files(self, name: str, revision: str = "") -> tuple[str, dict[str, int]] | None:
        """Return the commit and the sizes of the files of a model 'owner/name'; None without such a model.

        Args:
            name: The model.
            revision: Branch, tag or commit; '' for the main branch.
        """
        errors = self._hub.errors
        try:
            info = self._ask(
                f"ask for the model {name}",
                self._api.model_info,
                name,
                revision=revision or None,
                files_metadata=True,
            )
        except UserError as error:
            missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
            if isinstance(error.__cause__, missing) and not isinstance(
                error.__cause__, errors.GatedRepoError
            ):
                return None
            raise
        return str(info.sha or ""), {one.rfilename: int(one.size or 0) for one in info.siblings or []}

    def create(self, name: str, *, private: bool) -> None:
        """Create an empty model.

        Raises:
            UserError: Hugging Face refused it.
        """
        self._ask(f"create the model {name}", self._api.create_repo, name, private=private, exist_ok=True)

    def commit(self, name: str, folder: Path, files: Iterable[str], gone: Iterable[str], message: str) -> str:
        """Upload files below a folder in one commit; those that are there already are not sent again.

        Args:
            name: The model.
            folder: The folder.
            files: Their paths in it, and in the model.
            gone: Files of the model that are deleted.
            message: Of the commit.

        Returns:
            The commit.

        Raises:
            UserError: Hugging Face refused it, or the connection was lost: no file of the model has changed.
        """
        hub = self._hub
        steps = [hub.CommitOperationAdd(file, folder / file) for file in files]
        steps += [hub.CommitOperationDelete(file) for file in gone]
        found = self._ask(
            f"upload the model {name}", self._api.create_commit, name, steps, commit_message=message
        )
        return str(found.oid)

    def fetch(self, name: str, commit: str, file: str, folder: Path) -> None:
        """Download one file of a commit below a folder, or resume an earlier download.

        Raises:
            UserError: There is no such file, or the connection was lost.
        """
        self._ask(
            f"download {file} of {name}",
            self._api.hf_hub_download,
            name,
            file,
            revision=commit,
            local_dir=folder,
        )

    def _ask(self, doing: str, call: Callable[..., T], *words: Any, **options: Any) -> T:
        """Call the library, and turn its errors into one line."""
        try:
            return call(*words, **options)
        except UserError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise explain(doing, error) from error
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
                raise
            raise explain(doing, error) from error


def explain(doing: str, error: BaseException) -> UserError:
    """Turn an exception of the library into the error that a user reads."""
    response, cause = getattr(error, "response", None), error
    while response is None and cause.__cause__ is not None:  # an upload's own error is the cause of another
        cause = cause.__cause__
        response = getattr(cause, "response", None)
    start = f"could not {doing}: "
    status = getattr(response, "status_code", 0)
    if not status:
        first = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return UserError(start + first)
        kind = type(cause).__name__
        return UserError(f"{start}the connection broke off ({kind})", "a connection to Hugging Face", AGAIN)
    if status == 401:
        return UserError(f"{start}Hugging Face does not know the token (401)", "a valid token", TOKEN_HELP)
    if status == 403:
        return UserError(
            f"{start}the token may not write there (403)",
            "a name of your own or of an organisation of yours, and a token with write access",
            TOKEN_HELP,
        )
    if status == 429 or status >= 500:
        return UserError(f"{start}Hugging Face answers {status}", remedy=f"try again later; {AGAIN}")
    said = getattr(error, "server_message", None) or (str(error).splitlines() or [""])[0]
    return UserError(f"{start}Hugging Face answers {status} {' '.join(str(said).split())[:200]}")
