"""Uploads: a file on disk -> Kaggle's store; submits and creates nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from pneumothorax.kaggle.client.connection import Connection


class Uploads(Connection):
    """Calls that upload files."""

    def _send(self, path: Path, open_place: Callable[[Any], Any]) -> str:
        """Upload a file, each try to a fresh address; the client's own upload ignores refusals.

        Args:
            path: The file.
            open_place: Asks the given API for an address and a token.

        Returns:
            The token that stands for the file.

        Raises:
            UserError: The upload was refused or lost.
        """

        def upload() -> str:
            with self._api.build_kaggle_client() as kaggle:
                place = open_place(kaggle)
            size = path.stat().st_size
            with (
                path.open("rb") as raw,
                tqdm.wrapattr(raw, "read", size, desc=path.name, leave=False, disable=None) as file,
            ):
                requests.put(place.create_url, data=file).raise_for_status()
            return str(place.token)

        return self.ask(f"upload {path.name}", upload)
