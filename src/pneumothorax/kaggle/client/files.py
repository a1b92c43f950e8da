"""Files: download the archives of competitions and datasets, and single signed addresses."""

import base64
import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from kagglesdk.competitions.types import competition_api_service as competitions
from kagglesdk.datasets.types import dataset_api_service as datasets
from tqdm import tqdm

from pneumothorax.errors import UserError
from pneumothorax.kaggle.client.connection import PAGE, Connection
from pneumothorax.kaggle.errors import BUSY
from pneumothorax.workspace import atomic

CHUNK_BYTES = 1 << 18  # the most that an interruption loses


class Files(Connection):
    """Calls for files that can be downloaded."""

    def list_files(self, competition: str) -> dict[str, int]:
        """Return the size in bytes of each of a competition's files."""
        files: dict[str, int] = {}
        token = ""
        while True:
            page = self.ask(
                "list the competition's files", self._api.competition_list_files, competition, token, PAGE
            )
            files.update((file.name, file.total_bytes) for file in page.files)
            if not page.next_page_token or page.next_page_token == token:
                return files
            token = page.next_page_token

    def fetch_competition(self, competition: str, path: Path, admit: Callable[[int, int], None]) -> None:
        """Download a competition's archive, or resume an earlier download.

        Args:
            competition: Slug of the competition.
            path: The file to write.
            admit: Called before the first byte with the archive's size in bytes and the bytes still
                missing; may raise.
        """
        request = competitions.ApiDownloadDataFilesRequest()
        request.competition_name = competition
        self._fetch(
            "download the competition's files",
            lambda kaggle: kaggle.competitions.competition_api_client.download_data_files(request),
            path,
            admit,
        )

    def fetch_dataset(self, dataset: str, path: Path, admit: Callable[[int, int], None]) -> None:
        """Download the archive of a dataset 'owner/slug'; as `fetch_competition`."""
        request = datasets.ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = dataset.split("/")
        self._fetch(
            f"download the dataset {dataset}",
            lambda kaggle: kaggle.datasets.dataset_api_client.download_dataset(request),
            path,
            admit,
        )

    def _fetch(
        self, doing: str, open_archive: Callable[[Any], Any], path: Path, admit: Callable[[int, int], None]
    ) -> None:
        """Stream an archive into a file, which has its name only when it is whole.

        The partial file lies next to it and is named after the archive's size and version, so that bytes
        of another version are never added. The client's own `download_file` is not used for that: where the
        second half is refused, it saves the error's text in place of the first.
        """
        path.parent.mkdir(parents=True, exist_ok=True)

        def fetch() -> None:
            with self._api.build_kaggle_client() as kaggle, _open(open_archive, kaggle) as response:
                _check_kind(response)
                length = int(response.headers.get("Content-Length", -1))
                if path.is_file() and path.stat().st_size == length:
                    return
                part = _choose_part(path, response)
                there = part.stat().st_size if part.is_file() else 0
                admit(max(0, length), max(0, length - there))
                print(f"{path.name}: {max(0, length) / 1e9:.2f} GB", file=sys.stderr)
                if there != length:
                    _receive(response, part, there, path.name)
                try:
                    _check_whole(part, response)
                except ConnectionError:
                    if part.stat().st_size >= length:  # with fewer, the next try resumes from them
                        part.unlink()
                    raise
                part.replace(path)

        self.ask(doing, fetch)

    def fetch(self, doing: str, url: str, path: Path) -> None:
        """Download one signed address, which takes no credentials; the file appears when complete.

        An existing file with the checksum of the address stays.

        Raises:
            UserError: The address has expired, or the connection is lost.
        """

        def fetch() -> None:
            with requests.get(url, stream=True) as response:
                response.raise_for_status()
                promised = _md5(response.headers.get("x-goog-hash", ""))
                if promised and path.is_file() and _digest(path) == promised:
                    return
                with atomic(path) as temporary:
                    _stream(response, temporary, path.name)
                    _check_whole(temporary, response)

        self.ask(doing, fetch)


@contextlib.contextmanager
def _open(open_archive: Callable[[Any], Any], kaggle: Any) -> Iterator[requests.Response]:
    """Ask for an archive's address, and open that; a fresh address may help where the old one has expired."""
    try:
        with open_archive(kaggle) as response:
            yield response
    except requests.HTTPError as error:
        answer = error.response
        # The API is asked by POST; a GET went to the store that it sends us to.
        if answer is None or answer.request.method == "POST" or answer.status_code in BUSY:
            raise
        raise ConnectionError(f"the archive's address was refused ({answer.status_code})") from None


def _check_kind(response: requests.Response) -> None:
    """Refuse a page, such as a hotel's login, in place of an archive."""
    if "html" in response.headers.get("Content-Type", "").lower():
        raise ValueError  # as for any other unexpected response


def _choose_part(path: Path, response: requests.Response) -> Path:
    """Return the path of an archive's partial file, and remove those of other versions."""
    headers = response.headers
    version = [headers.get(name, "") for name in ("Content-Length", "ETag", "Last-Modified")]
    part = path.with_name(f"{path.name}.{hashlib.sha256(repr(version).encode()).hexdigest()[:12]}.part")
    known = version[0] and any(version[1:]) and headers.get("Accept-Ranges") == "bytes"
    for old in path.parent.glob(f"{path.name}.*.part"):
        if old != part or not known or old.stat().st_size > int(version[0]):
            old.unlink()
    return part


def _receive(response: requests.Response, part: Path, there: int, title: str) -> None:
    """Write a response into a partial file; request only the missing rest if it has some bytes already."""
    if not there:
        _stream(response, part, title)
        return
    version = response.headers.get("ETag") or response.headers["Last-Modified"]
    headers = {"Range": f"bytes={there}-", "If-Range": version}
    with requests.get(response.url, headers=headers, stream=True) as rest:
        rest.raise_for_status()
        _check_kind(rest)
        _stream(rest, part, title, there if rest.status_code == 206 else 0)


def _stream(response: requests.Response, path: Path, title: str, there: int = 0) -> None:
    """Append an answer's body to a file, with a progress bar."""
    total = there + int(response.headers.get("Content-Length", 0)) or None
    bar = tqdm(total=total, initial=there, desc=title, unit="B", unit_scale=True, leave=False, disable=None)
    try:
        with bar, path.open("ab" if there else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                bar.update(file.write(chunk))
    except requests.RequestException:  # they are OSErrors as well
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror})",
            "a folder of yours on a disk with room",
            "free some, and run the same command again",
        ) from error


def _check_whole(path: Path, response: requests.Response) -> None:
    """Compare a file with the size and the checksum in its response, where it has them."""
    size, length = path.stat().st_size, int(response.headers.get("Content-Length", -1))
    if size != length != -1:
        raise ConnectionError(f"{size:,} of {length:,} bytes arrived")
    promised = _md5(response.headers.get("x-goog-hash", ""))
    if promised and _digest(path) != promised:
        raise ConnectionError(f"{size:,} bytes arrived, whose checksum is another than promised")


def _md5(header: str) -> str:
    """Return the MD5 in a storage server's x-goog-hash header, in base64; '' if missing."""
    parts = [part.strip() for part in header.split(",")]
    return next((part.removeprefix("md5=") for part in parts if part.startswith("md5=")), "")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()
