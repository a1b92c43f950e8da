"""Notebooks: push, state, outputs, and the remaining accelerator hours."""

from pathlib import Path
from typing import Any

from kagglesdk.kernels.types import kernels_api_service as kernels

from pneumothorax.kaggle.client.connection import PAGE, Connection
from pneumothorax.kaggle.errors import RefusedError
from pneumothorax.kaggle.responses import KernelState, OutputFile, Pushed, Quota


class Notebooks(Connection):
    """Calls for notebooks that run on Kaggle's machines."""

    def push(self, folder: Path) -> Pushed:
        """Push the notebook in a folder with its kernel-metadata.json; Kaggle then runs it."""
        answer = self.ask(f"push {folder.name}", self._api.kernels_push, str(folder), repeatable=False)
        return Pushed.read(answer)

    def kernel_state(self, kernel: str) -> KernelState:
        """Ask for the state of the last run of a notebook 'owner/slug'.

        Raises:
            UserError: There is no such notebook, or these credentials may not see it.
        """
        answer = self._ask_kernel(kernel, "get_kernel_session_status", "ApiGetKernelSessionStatusRequest")
        return KernelState(answer.status.name, answer.failure_message or "")

    def kernel_output(self, kernel: str) -> tuple[list[OutputFile], str]:
        """List the output files of a notebook's last run, and return its log."""
        files: list[OutputFile] = []
        token, log = "", ""
        while True:
            page = self._ask_kernel(
                kernel,
                "list_kernel_session_output",
                "ApiListKernelSessionOutputRequest",
                page_size=PAGE,
                page_token=token,
            )
            log = log or page.log or ""
            files += [OutputFile(file.file_name, file.url) for file in page.files or []]
            if not page.next_page_token or page.next_page_token == token:
                return files, log
            token = page.next_page_token

    def _ask_kernel(self, kernel: str, method: str, kind: str, **fields: Any) -> Any:
        request = getattr(kernels, kind)()
        request.user_name, request.kernel_slug = kernel.split("/")
        for name, value in fields.items():
            setattr(request, name, value)

        def ask() -> Any:
            with self._api.build_kaggle_client() as kaggle:
                return getattr(kaggle.kernels.kernels_api_client, method)(request)

        try:
            return self.ask(f"ask for the notebook {kernel}", ask)
        except RefusedError as error:
            if error.status in (403, 404):  # Kaggle answers 403 for a notebook that does not exist
                raise RefusedError(
                    error.status,
                    f"no notebook {kernel} that these credentials may see",
                    "one that was pushed",
                    "`pneumothorax push` makes it",
                ) from None
            raise

    def quota(self) -> Quota:
        """Ask for the GPU and TPU hours that are left this week."""
        return Quota.read(self.ask("ask for the quota", self._api.quota_view))
