"""The description that an exported file carries: input, output, rule, recipe, versions, and a short card.

Needs no network library.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from pneumothorax import __version__
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import KIND
from pneumothorax.inference.plan import Trained
from pneumothorax.inference.rule import EXPLAINED
from pneumothorax.recipe import to_json
from pneumothorax.training.provenance import digest_folds

_PACKAGES = ("keras", "tensorflow", "jax", "numpy", "tf2onnx", "onnx", "onnxruntime")
_NAMES = {"bilinear": "INTER_LINEAR", "bicubic": "INTER_CUBIC", "area": "INTER_AREA"}


@dataclass(frozen=True)
class Export:
    """One export: a run and its rule, and how the file takes its images.

    Attributes:
        plan: The run and its folds.
        decision: The rule, with its evidence.
        any_size: Whether the file resizes its images itself.
    """

    plan: Trained
    decision: Decision
    any_size: bool


def describe(export: Export) -> dict[str, str]:
    """Return the metadata: texts by their names, other values as JSON.

    `inference.model_file.read_model_file` reads them back from an ONNX file.
    """
    plan = export.plan
    return {
        "kind": KIND,
        "card": write_card(export),
        "run": plan.run.name,
        "folds": json.dumps(digest_folds(fold.weights for fold in plan.folds)),
        "mirror_images": json.dumps(plan.recipe.flip_tta),
        "size": str(plan.recipe.size),
        "interpolation": plan.recipe.interpolation,
        "classification_head": json.dumps(plan.recipe.classification_head),
        "rule": json.dumps(asdict(export.decision.rule)),
        "decision": json.dumps(asdict(export.decision)),
        "recipe": json.dumps(json.loads(to_json(plan.recipe))),
        "versions": json.dumps(_versions()),
    }


def write_card(export: Export) -> str:
    """Write the card: what the network is, its input and output, its rule and the evidence, in Markdown."""
    recipe, folds = export.plan.recipe, export.plan.folds
    size, head = recipe.size, recipe.classification_head
    number = "1 fold" if len(folds) == 1 else f"{len(folds)} folds, averaged"
    mirrored = ", each with the mirror image" if recipe.flip_tta else ""
    shape = "(N, H, W, 1), of any H and W" if export.any_size else f"(N, {size}, {size}, 1)"
    named = f"{recipe.interpolation}, as OpenCV's {_NAMES[recipe.interpolation]}"
    resizing = (
        f"Resized inside to {size}x{size} ({named}, to one grey level); {size}x{size} passes unchanged."
        if export.any_size
        else f"Resize to {size}x{size} before ({named})."
    )
    image_level = "`image_probability`, float32 of shape (N,): that the image shows a pneumothorax."
    none = "There is no image-level probability: the network has no classification head."
    return f"""# {export.plan.run.name}: pneumothorax in chest radiographs

Research only: no medical device, and its output is no diagnosis.

- Network: {recipe.architecture} on {recipe.encoder}, recipe {recipe.name}; {number}{mirrored}. float32.
- Input: `images`, uint8 of shape {shape}: grey levels 0-255 as a viewer shows them (DICOM windowed,
  MONOCHROME1 inverted). {resizing} Scaling is inside.
- Output: `probability`, float32 of shape (N, {size}, {size}, 1), of each pixel.
  {image_level if head else none}
- Rule: {export.decision.rule}. {EXPLAINED} Resize the probability to 1024x1024
  (bilinear) first, then cut: areas are in pixels at 1024x1024.
- Evidence: {_evidence(export.decision)}
- Made by pneumothorax {__version__} with {", ".join(f"{k} {v}" for k, v in _versions().items())}.
"""


def _evidence(decision: Decision) -> str:
    """Describe the score that the rule earned."""
    if decision.score is None:
        return "none; the rule was not tuned, or was set by hand."
    low_high = f" [{decision.low:.4f}, {decision.high:.4f}]" if decision.low and decision.high else ""
    empty = (
        "" if decision.all_empty is None else f"; leaving every image empty scores {decision.all_empty:.4f}"
    )
    return (
        f"mean Dice {decision.score:.4f}{low_high} on {decision.images:,} images that were held out from "
        f"training and from the choice of their rule{empty}."
    )


def _versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that make and check the file."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
