"""Submissions: upload, create and list, each a step of its own so that failures can be distinguished."""

import sys
from collections.abc import Iterator
from pathlib import Path

from kagglesdk.competitions.types import competition_api_service as competitions

from pneumothorax.kaggle.client.connection import PAGE
from pneumothorax.kaggle.client.uploads import Uploads
from pneumothorax.kaggle.responses import Limits, Submission


class Submissions(Uploads):
    """Calls for the leaderboard."""

    def limits(self, competition: str) -> Limits:
        """Ask for the number of submissions left today."""
        answer = self.ask(
            "ask for the submissions left", self._api.competition_get_submission_limits, competition
        )
        return Limits(answer.num_allowed_now, answer.num_today, answer.num_total)

    def upload_submission(self, competition: str, path: Path) -> str:
        """Upload a CSV without submitting it.

        Returns:
            The token for `create_submission`.

        Raises:
            UserError: The upload was refused or lost; nothing was submitted.
        """
        request = competitions.ApiStartSubmissionUploadRequest()
        request.competition_name, request.file_name = competition, path.name
        request.content_length = path.stat().st_size
        request.last_modified_epoch_seconds = int(path.stat().st_mtime)

        return self._send(
            path, lambda kaggle: kaggle.competitions.competition_api_client.start_submission_upload(request)
        )

    def create_submission(self, competition: str, token: str, message: str) -> int:
        """Submit an uploaded file; never twice.

        Returns:
            Kaggle's reference of the submission.

        Raises:
            LostError: No answer came; Kaggle may have it or not.
            UserError: Kaggle refused it.
        """
        request = competitions.ApiCreateSubmissionRequest()
        request.competition_name, request.blob_file_tokens = competition, token
        request.submission_description = message

        def create() -> int:
            with self._api.build_kaggle_client() as kaggle:
                return int(kaggle.competitions.competition_api_client.create_submission(request).ref)

        return self.ask("submit the uploaded file", create, repeatable=False)

    def submissions(self, competition: str) -> Iterator[Submission]:
        """Yield the user's submissions, newest first, each once."""
        seen: set[int] = set()
        for page in range(1, sys.maxsize):
            rows = self.ask(
                "list the submissions",
                self._api.competition_submissions,
                competition,
                page_number=page,
                page_size=PAGE,
            )
            fresh = [row for row in rows or [] if row is not None and row.ref not in seen]
            if not fresh:
                return
            seen.update(row.ref for row in fresh)
            yield from map(Submission.read, fresh)
