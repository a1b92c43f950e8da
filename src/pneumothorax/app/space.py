"""The page as a Hugging Face Space: its folder, ready to be pushed.

A Space holds all that it runs: the exported file, this package's source, and the pinned packages that
`segment --model` needs. Nothing of Keras, and no radiograph.
"""

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pneumothorax import __version__, source
from pneumothorax.app.html import RESEARCH
from pneumothorax.errors import UserError
from pneumothorax.inference.model_file import ModelFile, read_model_file
from pneumothorax.workspace import atomic, replace_folder, write_text

MODEL, PACKAGE = "model.onnx", "pneumothorax"
# Of requirements-segment.txt; and, if they are here, for DICOM objects and codecs. Gradio: see `_readme`.
NEEDED = ("numpy", "matplotlib", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "pydicom")
ALSO = ("simplejpeg", "tqdm", "highdicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")
KEPT = (".git", ".gitattributes", ".gitignore")  # of a folder that is pushed
_MARK = "<!-- written by `pneumothorax app --build-space` -->"
_APP = '''"""The page; a Space runs this file."""

from pathlib import Path

from pneumothorax.app.server import serve
from pneumothorax.inference.model_file import read_model_file
from pneumothorax.inference.predictor import of_file

if __name__ == "__main__":
    file = read_model_file(Path(__file__).parent / "model.onnx")
    serve(of_file(file), file.decision, card=file.card, host="0.0.0.0", max_mb={max_mb:g})
'''


def build_space(folder: Path, model: Path, *, max_mb: float) -> list[str]:
    """Write the folder of a Space.

    Args:
        folder: New, empty, or an earlier Space of ours; a git repository may be in it.
        model: Exported ONNX file.
        max_mb: Largest file that the page takes, in MB.

    Returns:
        The names of the files and folders in it.

    Raises:
        UserError: The folder holds something else, or the file is none of `export`.
    """
    file = read_model_file(model)
    texts = {
        "README.md": _readme(file),
        "app.py": _APP.format(max_mb=max_mb),
        "requirements.txt": "".join(f"{name}=={number}\n" for name, number in _pins().items()),
        ".gitattributes": "*.onnx filter=lfs diff=lfs merge=lfs -text\n",
    }
    names = [*texts, MODEL, PACKAGE]
    _check_folder(folder, names)
    folder.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder / PACKAGE) as package:
        for path in sorted(source.FOLDER.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                target = package / path.relative_to(source.FOLDER)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    with atomic(folder / MODEL) as temporary:
        shutil.copyfile(model, temporary)
    for name, text in texts.items():
        write_text(folder / name, text)
    return names


def _check_folder(folder: Path, names: list[str]) -> None:
    """Refuse a folder that holds anything but an earlier Space.

    Raises:
        UserError: It does, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "a folder for the Space", "choose another --build-space")
    there = {path.name for path in folder.iterdir()} - {*KEPT} if folder.is_dir() else set()
    readme = folder / "README.md"
    is_ours = readme.is_file() and _MARK in readme.read_text(encoding="utf-8", errors="replace")
    if there and (not is_ours or there - {*names, f".{PACKAGE}.partial", f".{PACKAGE}.old"}):
        shown = ", ".join(sorted(there if not is_ours else there - {*names})[:3])
        raise UserError(
            f"{folder} holds other files ({shown})",
            "a new folder, or a Space that this command wrote",
            "choose another --build-space",
        )


def _pins() -> dict[str, str]:
    """Return the versions that are installed here, with which the page was tried."""
    pins = {}
    for name in (*NEEDED, *ALSO):
        try:
            pins[name] = version(name)
        except PackageNotFoundError:
            if name in NEEDED:
                raise UserError(f"{name} is not installed", remedy=f"pip install {name}") from None
    return pins


def _readme(file: ModelFile) -> str:
    """Return the README: the header by which Hugging Face runs the Space, and the file's card."""
    return f"""---
title: "Pneumothorax: {file.run.replace('"', "'")}"
emoji: 🫁
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: "{version("gradio")}"
python_version: "3.11"
app_file: app.py
pinned: false
license: mit
short_description: {RESEARCH}
---
{_MARK}

**{RESEARCH}.** Do not upload a radiograph that names a patient: a Space runs on somebody else's computer.
Uploads are deleted as soon as they are read, and nothing is kept after the session.

{file.card}
Made by pneumothorax {__version__}; `model.onnx` is the output of `pneumothorax export`.
"""
