"""A run -> the folder that is published: made once, and again only where something changed.

It holds the files of `hubs.manifest` and no others: weights and texts. The run folder's probabilities, tables
of studies, sessions and pictures stay at home.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pneumothorax import __version__
from pneumothorax.errors import UserError
from pneumothorax.hubs.manifest import (
    CARD,
    DECISION,
    ENCODER,
    KIND,
    ONNX,
    Manifest,
    check_files,
    is_published,
    list_files,
    read_manifest,
    write_manifest,
)
from pneumothorax.hubs.manifest import NAME as MANIFEST
from pneumothorax.inference.decision import Decision, write_decision
from pneumothorax.inference.plan import Trained
from pneumothorax.legs import last_leg
from pneumothorax.publishing.about import About, publishable
from pneumothorax.publishing.card import write_card
from pneumothorax.recipe import to_json
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.training.fold_folder import FoldFolder, read_environment, read_recipe
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import newer_folds
from pneumothorax.workspace import replace_folder, write_text

Export = Callable[[Trained, Decision, Path], object]


@dataclass(frozen=True)
class Model:
    """What is published.

    Attributes:
        plan: The run and its folds.
        evaluation: Its evaluated images.
        decision: The rule, which `tune` chose.
        about: The publication.
        onnx: Writes the ONNX file; None to leave it out.
    """

    plan: Trained
    evaluation: Evaluation
    decision: Decision
    about: About
    onnx: Export | None


def check_tuned(plan: Trained, decision: Decision) -> None:
    """Refuse a run whose rule was not tuned, or before its folds were trained.

    Raises:
        UserError: See above.
    """
    run = plan.run.name
    if decision.score is None:
        raise UserError(
            f"run {run} has no tuned rule", "decision.json with its score", f"run `pneumothorax tune {run}`"
        )
    if newer := newer_folds(plan.run / "decision.json", plan.folds):
        raise UserError(
            f"the rule of {run} is older than {', '.join(newer)}",
            "a rule of these weights",
            f"run `pneumothorax tune {run}` again",
        )


def write_folder(folder: Path, model: Model) -> Manifest:
    """Write the folder, or find that it is there; the ONNX file is kept where only texts changed.

    Args:
        folder: Its path.
        model: Its content.

    Returns:
        The list of its files.

    Raises:
        UserError: Weights are damaged, or the ONNX file cannot be written.
    """
    networks = _digest_networks(model)
    old = _read_old(folder)
    with replace_folder(folder) as build:
        if old is not None and old.source == networks:
            for name in (name for name in old.files if name.endswith((".h5", ".onnx"))):
                (build / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(folder / name, build / name)
            plan = _write_folds(build, model.plan)
        else:
            plan = _write_folds(build, model.plan)
            _write_networks(build, plan, model)
        write_decision(build / DECISION, model.decision, digest_folds(one.weights for one in plan.folds))
        names = [path.relative_to(build).as_posix() for path in build.rglob("*") if path.is_file()]
        sizes = {name: (build / name).stat().st_size for name in names}
        has_onnx, has_encoder = ONNX in names, ENCODER in names
        card = write_card(
            model.evaluation,
            model.plan,
            model.decision,
            model.about,
            sizes,
            onnx=has_onnx,
            encoder=has_encoder,
        )
        write_text(build / CARD, card)
        if strange := [name for name in names if not is_published(name)]:
            raise AssertionError(f"{strange} in a folder to publish")
        manifest = Manifest(model.plan.run.name, networks, list_files(build, [*names, CARD]))
        write_manifest(build, manifest)
    return manifest


def _write_folds(build: Path, plan: Trained) -> Trained:
    """Write the folds' recipes and versions; return the plan of the folders."""
    folds = []
    for fold in plan.folds:
        copy = FoldFolder(build / fold.path.name)
        write_text(copy.recipe, to_json(publishable(read_recipe(fold))))
        # The digest of the data says nothing to others.
        versions = {name: value for name, value in read_environment(fold).items() if name != "data"}
        write_text(copy.environment, json.dumps(versions, indent=2) + "\n")
        folds.append(copy)
    return Trained(Path(plan.run.name), folds, last_leg(publishable(plan.recipe)))


def _write_networks(build: Path, plan: Trained, model: Model) -> None:
    """Write the weights of the folds and of the first one's encoder, and the ONNX file."""
    from pneumothorax.publishing.networks import save_network  # imports Keras

    for number, (fold, copy) in enumerate(zip(model.plan.folds, plan.folds, strict=True)):
        save_network(fold, copy.weights, None if number else build / ENCODER)
    if model.onnx is not None:
        model.onnx(plan, model.decision, build / ONNX)


def _digest_networks(model: Model) -> str:
    """Digest everything that encoder and ONNX file depend on."""
    values = {
        "kind": KIND,
        "folds": digest_folds(fold.weights for fold in model.plan.folds),
        "recipe": json.loads(to_json(publishable(model.plan.recipe))),
        "decision": asdict(model.decision),
        "onnx": model.onnx is not None,
        "run": model.plan.run.name,
        "pneumothorax": __version__,
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _read_old(folder: Path) -> Manifest | None:
    """Read the list of an earlier folder; None where it is missing or its files are not as listed."""
    try:
        old = read_manifest(folder / MANIFEST)
    except UserError:
        return None
    return None if check_files(folder, old) else old
