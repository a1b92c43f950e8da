"""Serving: what is checked before anything is loaded, and what the user's environment cannot change."""

import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest
from tests.inference.echo import make_run
from tests.inference.onnx_files import export_echo

from pneumothorax.app import server
from pneumothorax.cli import main
from pneumothorax.errors import UserError


@pytest.fixture
def with_gradio(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: name)


@pytest.fixture
def file(tmp_path):
    return export_echo(make_run(tmp_path), tmp_path / "echo.onnx")


def fails(capsys, *words):
    try:
        code = main(["app", *map(str, words)])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_a_missing_gradio_names_the_command(file, capsys, monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    assert "needs Gradio, which is not installed; pip install -e '.[app]'" in fails(capsys, "--model", file)


@pytest.mark.usefixtures("with_gradio")
def test_a_port_in_use_is_one_line(file, capsys):
    with socket.socket() as taken:
        taken.bind((server.HERE, 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = fails(capsys, "--model", file, "--port", port)
    assert f"port {port} of 127.0.0.1 is in use; choose another with --port" in error


@pytest.mark.usefixtures("with_gradio")
def test_mistakes_are_one_line(file, tmp_path, capsys):
    assert "expected a port, 0 to 65535" in fails(capsys, "--port", "70000")
    assert "not allowed with argument" in fails(capsys, "--run", "a", "--model", file)
    assert "no file" in fails(capsys, "--port", "0", "--model", tmp_path / "none.onnx")
    assert "no run" in fails(capsys, "--port", "0", "--root", tmp_path, "--run", "none")
    error = fails(capsys, "--root", tmp_path, "--run", "echo", "--build-space", tmp_path / "space")
    assert "--build-space without --model" in error
    assert not (tmp_path / "space").exists()


def test_any_free_port_can_be_asked_for():
    port = server.find_port(server.HERE, 0)
    assert server.find_port(server.HERE, port) == port


def test_an_address_of_another_machine_is_one_line():
    with pytest.raises(UserError, match=r"port 80 of 192\.0\.2\.1 cannot be used"):
        server.find_port("192.0.2.1", 80)


def test_the_user_s_settings_of_gradio_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {"GRADIO_SHARE": "1", "GRADIO_ALLOWED_PATHS": "/", "HOME": "h"})
    server._set_environment(tmp_path)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    assert not {"GRADIO_SHARE", "GRADIO_ALLOWED_PATHS"} & os.environ.keys()
    assert os.environ["HOME"] == "h"


def test_temporary_files_go_with_the_server():
    before = tempfile.tempdir
    with server._own_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0
        with tempfile.NamedTemporaryFile(delete=False) as left:
            assert Path(left.name).parent == folder
    assert not folder.exists()
    assert tempfile.tempdir == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_like_ctrl_c(number):
    with pytest.raises(SystemExit) as caught, server._terminable():
        os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number
