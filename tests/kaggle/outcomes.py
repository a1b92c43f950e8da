"""What every command owes to a user when something goes wrong, as checks for the tests."""

from pathlib import Path

from tests.kaggle.standin_kit import Result


def assert_refused(result: Result, *words: str) -> None:
    """Fail unless a command ended with one line that holds these words, code 2 and a silent stdout."""
    lines = result.stderr.rstrip().splitlines()
    assert result.code == 2, result
    assert result.stdout == "", result.stdout
    assert "Traceback" not in result.stderr, result.stderr
    assert sum("error:" in line for line in lines) == 1, result.stderr
    assert lines[-1].startswith("pneumothorax: error: "), result.stderr
    for word in words:
        assert word in lines[-1], f"{word!r} is not in: {lines[-1]}"


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, hidden ones as well."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
