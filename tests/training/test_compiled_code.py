import pytest

from pneumothorax.training import compiled_code


def test_compiled_code_is_kept_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (compiled_code.FOLDER, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert compiled_code.find_folder() == tmp_path / ".cache" / "pneumothorax" / "jax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert compiled_code.find_folder() == tmp_path / "xdg" / "pneumothorax" / "jax"
    monkeypatch.setenv(compiled_code.FOLDER, str(tmp_path / "own"))
    assert compiled_code.find_folder() == tmp_path / "own"


def test_a_folder_that_cannot_be_written_is_warned_of_once(monkeypatch, tmp_path, capsys):
    jax = pytest.importorskip("jax")
    (tmp_path / "file").touch()
    monkeypatch.setenv(compiled_code.FOLDER, str(tmp_path / "file" / "below"))
    settings = []
    monkeypatch.setattr(jax.config, "update", lambda name, value: settings.append((name, value)))
    compiled_code.keep_compiled_code.cache_clear()
    try:
        compiled_code.keep_compiled_code()
        compiled_code.keep_compiled_code()
    finally:
        compiled_code.keep_compiled_code.cache_clear()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"compiled code is not kept: {tmp_path / 'file' / 'below'} (" in line
    assert settings == [("jax_compilation_cache_dir", None)]
