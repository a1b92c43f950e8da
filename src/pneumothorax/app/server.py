"""Serve the page: on this machine alone, without a word to anybody else, and nothing left behind."""

import errno
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.predictor import Predictor

HERE = "127.0.0.1"
INSTALL = "pip install -e '.[app]'"
# The page may load and send nothing but to the server that it came from.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; form-action 'self'"
)


def check_gradio() -> None:
    """Check that Gradio is installed.

    Raises:
        UserError: It is not.
    """
    if find_spec("gradio") is None:
        raise UserError("`app` needs Gradio, which is not installed", remedy=INSTALL)


def find_port(host: str, port: int) -> int:
    """Return a port that can be listened on; a free one for 0.

    Raises:
        UserError: It is in use, or may not be listened on.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise UserError(f"port {port} of {host} {why}", remedy="choose another with --port") from None
        return int(tried.getsockname()[1])


def serve(
    networks: Predictor,
    decision: Decision,
    *,
    card: str = "",
    host: str = HERE,
    port: int = 7860,
    max_mb: float = 50,
    share: bool = False,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        networks: Networks of a run or of an exported file.
        decision: Their rule, with its evidence.
        card: Description of the networks, as plain text.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        max_mb: Largest file, in MB of 2**20 bytes.
        share: Whether Gradio opens a public address for it.

    Raises:
        UserError: Gradio is missing, the port is in use, or the networks cannot be loaded.
    """
    check_gradio()
    port = find_port(host, port)
    from pneumothorax.app.desk import Desk

    with _own_folder() as folder, _terminable():
        _set_environment(folder)
        import gradio

        from pneumothorax.app.page import CSS, make_page, make_theme

        for name in ("httpx", "asyncio"):  # a line for each request, and of connections that a browser closes
            logging.getLogger(name).setLevel(logging.ERROR)
        desk = Desk(networks, decision, max_mb)
        try:
            local = host == HERE and not share
            page = make_page(desk, networks.name, card, folder, local=local)
            page.queue(default_concurrency_limit=4)
            page.launch(
                server_name=host,
                server_port=port,
                share=share,
                quiet=True,
                inbrowser=False,
                prevent_thread_lock=True,
                max_file_size=int(max_mb * 2**20),
                allowed_paths=[],
                show_error=False,
                footer_links=[],
                run_history=False,  # would keep each result in the browser
                enable_monitoring=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                theme=make_theme(),
                css=CSS.read_text(encoding="utf-8"),
                app_kwargs={"middleware": _guards()} if local else {},
            )
            print(f"http://{host}:{port}  research use only, not a diagnosis; Ctrl-C ends it", flush=True)
            if share:
                print(page.share_url or "no public address could be had", flush=True)
            while True:
                time.sleep(0.2)
        finally:
            gradio.close_all(verbose=False)
            desk.close()


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Give a folder for all temporary files of this process, and remove it at the end."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="pneumothorax-app-", ignore_cleanup_errors=True) as name:
        tempfile.tempdir = name
        try:
            yield Path(name).resolve()
        finally:
            tempfile.tempdir = before


@contextmanager
def _terminable() -> Iterator[None]:
    """Let the end of the terminal, or SIGTERM, end the process as Ctrl-C does, so that the folder goes."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_environment(folder: Path) -> None:
    """Leave nothing of Gradio's behaviour to the user's environment; read as it is imported."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(folder),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }


def _guards() -> list[Any]:
    """Return what stands before Gradio on one's own machine: only its own address is served, by a policy."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=[HERE, "localhost"]),
        Middleware(_Policy),
    ]


class _Policy:
    """Adds the content security policy to each answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_policy)
