"""The model card: what a stranger on the hub must know before using the weights, in the hub's own format.

Every score and table is the report's (`report.evaluation`, `summary`, `groups`). Needs no network library.
"""

from collections.abc import Mapping
from dataclasses import replace

from pneumothorax import __version__
from pneumothorax.hubs.manifest import CARD, DECISION, ENCODER, NAME, ONNX
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.plan import Trained
from pneumothorax.inference.rule import EXPLAINED
from pneumothorax.publishing.about import About, publishable
from pneumothorax.publishing.markdown import escape, front_matter, table
from pneumothorax.publishing.results import write_failures, write_scores
from pneumothorax.report import summary
from pneumothorax.report.evaluation import Evaluation

RESEARCH = "Research only: no medical device, and its output is no diagnosis."
TAGS = ("chest-x-ray", "pneumothorax", "medical", "radiology", "image-segmentation", "keras", "onnx")
_ONNX_CODE = """```python
import json, cv2, numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
rule = json.loads(session.get_modelmeta().custom_metadata_map["rule"])
image = cv2.imread("chest.png", cv2.IMREAD_GRAYSCALE)  # grey levels as a viewer shows them, of any size
names = [output.name for output in session.get_outputs()]
found = dict(zip(names, session.run(names, {"images": image[None, ..., None]})))
full = cv2.resize(found["probability"][0, ..., 0], (1024, 1024))  # areas are in pixels at 1024x1024
top = rule["top_threshold"] or rule["threshold"]
is_positive = np.count_nonzero(full > top) >= max(rule["min_area"], 1)
is_positive &= found.get("image_probability", [1.0])[0] >= rule["classification_threshold"]
mask = (full > rule["threshold"]) & is_positive
count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
small = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] < rule["min_component"]]
mask[np.isin(labels, small)] = False
```"""


def write_card(
    run: Evaluation,
    plan: Trained,
    decision: Decision,
    about: About,
    sizes: Mapping[str, int],
    *,
    onnx: bool,
    encoder: bool,
) -> str:
    """Write the card.

    Args:
        run: The evaluated images of the run.
        plan: Its folds.
        decision: The rule that is published.
        about: The publication.
        sizes: Bytes of its other files.
        onnx: Whether it has the ONNX file.
        encoder: Whether it has the encoder's file.

    Returns:
        Markdown, for Hugging Face with its front matter.
    """
    if run.recipe is not None:
        run = replace(run, recipe=publishable(run.recipe))
    parts = [
        *([] if about.kaggle else [_front(run, about)]),
        f"# {escape(about.title)}",
        f"**{RESEARCH}**",
        _summary(run, plan),
        "## Data and their terms",
        about.terms,
        f"The weights are licensed under `{about.license}`; the terms of the data apply besides.",
        "## Scores",
        write_scores(run, about),
        "## How it fails",
        write_failures(run),
        "## Limits",
        _limits(run, plan, encoder=encoder),
        "## How to run it",
        _usage(plan, about, onnx=onnx, encoder=encoder),
        "## How it was made",
        table(["fact", "value"], summary.facts_of(run)),
        f"The rule, in `{DECISION}`: {escape(decision.rule)}. {EXPLAINED}",
        "## Files",
        _files(plan, sizes, onnx=onnx, encoder=encoder),
        f"Written by `pneumothorax publish`, version {__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def _front(run: Evaluation, about: About) -> str:
    """Return Hugging Face's front matter."""
    score, low, high = run.metric()
    metric = {
        "type": "dice",
        "name": f"mean Dice of held-out images, 95 % interval {low:.4f} to {high:.4f}",
        "value": round(score, 4),
    }
    data = {"type": "siim-acr-pneumothorax", "name": about.data}
    result = {"task": {"type": "image-segmentation"}, "dataset": data, "metrics": [metric]}
    return front_matter(
        {
            "license": about.license,
            "library_name": "keras",
            "pipeline_tag": "image-segmentation",
            "tags": list(TAGS),
            "model-index": [{"name": about.title, "results": [result]}],
        }
    )


def _summary(run: Evaluation, plan: Trained) -> str:
    recipe = plan.recipe
    folds = "One network" if len(plan.folds) == 1 else f"Networks of {len(plan.folds)} folds, averaged"
    head = (
        " A second output is the probability that the image shows one." if recipe.classification_head else ""
    )
    score, low, high = run.metric()
    empty = float((~run.positive).mean())
    return (
        f"{folds} ({escape(recipe.architecture)} on {escape(recipe.encoder)}, {recipe.size}x{recipe.size} "
        "pixels), for the outline of a pneumothorax, air between lung and chest wall, in a frontal chest "
        f"radiograph: a grey image in, the probability of each pixel out.{head}\n\n"
        f"Mean Dice **{score:.4f}** (95 % interval {low:.4f} to {high:.4f}) on {len(run.studies):,} images "
        f"that were held out from training; leaving every image empty scores {empty:.4f} on them. An image "
        "without a pneumothorax counts 1 if left empty and 0 if not, so that is the score to beat."
    )


def _limits(run: Evaluation, plan: Trained, *, encoder: bool) -> str:
    planned = plan.recipe.fold_count if plan.recipe.split == "folds" else 1
    lines = [
        "For research and teaching, not for reading, sorting or reporting patients' radiographs.",
        "Frontal radiographs alone, of the kind it was trained on. Lateral views, other hospitals, other "
        "devices, children and follow-ups with drains are untested unless a table above has them.",
        "The scores are of held-out images of the same collection. Expect less elsewhere.",
        "An image that is not square is stretched to the network's square.",
    ]
    if encoder:
        lines.append(
            f"`{ENCODER}` is the encoder of {plan.folds[0].path.name}, for other data: it has seen all "
            "images but those that this fold held out, so held-out scores on the same collection would be "
            "too high."
        )
    if len(plan.folds) < planned:
        lines.insert(3, f"{len(plan.folds)} of {planned} planned folds: a whole run averages all of them.")
    if run.recipe is not None and run.recipe.split != "folds":
        lines.insert(3, "The split is by image: patients lie on both sides, and the scores are too high.")
    return "\n".join(f"- {line}" for line in lines)


def _usage(plan: Trained, about: About, *, onnx: bool, encoder: bool) -> str:
    kit = (
        f"With `pneumothorax` {__version__} installed (DICOM, PNG or JPEG in; masks, overlays and a table "
        "out), or as a start for training on other data:\n\n```\n"
        f"pneumothorax segment some/folder --run {about.reference} --out results\n"
        + f"pneumothorax train --encoder {plan.recipe.encoder} --encoder-weights {about.reference}\n"
        * encoder
        + "```"
    )
    return f"{kit}\n\nWithout it, by onnxruntime, OpenCV and NumPy:\n\n{_ONNX_CODE}" if onnx else kit


def _files(plan: Trained, sizes: Mapping[str, int], *, onnx: bool, encoder: bool) -> str:
    mirrored = " and the mirror images" if plan.recipe.flip_tta else ""
    rows = [
        ("fold<k>/best.weights.h5", "the weights of a fold, as Keras saves them"),
        ("fold<k>/recipe.json, environment.json", "everything training depended on; versions"),
        *([(ENCODER, "the encoder alone, to train on with `--encoder-weights`")] * encoder),
        *([(ONNX, f"all folds{mirrored} in one ONNX file, with its rule; takes images of any size")] * onnx),
        (DECISION, "the rule from probability to mask, and the score it earned"),
        (f"{NAME}, {CARD}", "all files with their SHA-256; this card"),
    ]
    total = sum(sizes.values())
    shown = f"{total / 1e6:,.0f} MB in all." if total else ""
    lines = "\n".join(f"| `{name}` | {text} |" for name, text in rows)
    return f"| file | content |\n| --- | --- |\n{lines}\n\n{shown}".rstrip()
