"""Recipe: everything a training run depends on besides the data, and the named values of it.

A default stands here and nowhere else; the command line derives a flag from each field. It knows nothing of
files, arrays or networks.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.legs import EXAMPLE as LEGS_EXAMPLE
from pneumothorax.legs import parse_legs, write_legs
from pneumothorax.loss_text import EXAMPLE, TERMS, parse_loss, write_loss
from pneumothorax.recipe_checks import check_types, check_values

# Fields that came after the first runs, and the values that those were trained by.
_ADDED = {
    "architecture": "unet",
    "flip_tta": False,
    "focal_gamma": 2.0,
    "positive_rate": 0.0,
    "positive_rate_end": 0.0,
    "hard_negatives": False,
    "gamma": 0.0,
    "elastic": 0.0,
    "tone_share": 1.0,
    "geometry_share": 1.0,
    "classification_head": False,
    "init_from": "",
    "boundary_schedule": "constant",
    "boundary_rise": 0.01,
    "accumulate": 1,
    "clip_norm": 0.0,
    "schedule": "plateau",
    "warmup_epochs": 0.0,
    "ema": 0.0,
    "average_best": 1,
    "monitor": "soft_dice",
    "legs": "",
    "encoder_rate": 1.0,
    "freeze_batch_norm": False,
    "weight_decay": 0.0,
}


def _option(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    """Return a dataclass field whose help text and choices also serve the command line."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """One way to train. The defaults are the paper's (Steinberger Eriksson 2019)."""

    name: str = _option("seed", "name of the recipe this one began as")

    # What the network sees
    size: int = _option(128, "side of image and mask in pixels, divisible by 32 (pspnet: by 48)")
    interpolation: str = _option(
        "bilinear", "how 1024 pixels become SIZE; bicubic is clipped", ("bilinear", "bicubic", "area")
    )
    positives_only: bool = _option(True, "train and stop on images with a pneumothorax alone")
    split: str = _option(
        "paper",
        "'paper': 1802/200/377 of 2379, by image (leaks patients); 'folds': grouped by patient",
        ("paper", "folds"),
    )
    fold_count: int = _option(5, "number of folds of the split 'folds'")
    positive_rate: float = _option(
        0.0,
        "share of positives in the first epoch, all of them with as many negatives; 0: images as they come",
    )
    positive_rate_end: float = _option(
        0.0, "the share in the last planned epoch, reached in a straight line; 0: as in the first"
    )
    hard_negatives: bool = _option(
        False, "draw negatives in which the last epoch found something four times as often"
    )

    # Augmentation of image and mask together; 0 switches a part off
    flip: bool = _option(False, "mirror left and right, one time in two")
    rotation_degrees: float = _option(0.0, "rotate by up to this many degrees either way")
    shift: float = _option(0.0, "shift by up to this share of the side")
    zoom: float = _option(0.0, "grow or shrink by up to this share")
    brightness: float = _option(0.0, "brighten or darken by up to this share of the value range")
    contrast: float = _option(0.0, "change contrast by up to this share")
    gamma: float = _option(0.0, "raise grey values to a power of up to 1 + this, or its inverse")
    elastic: float = _option(0.0, "bend smoothly by about this share of the side, such as 0.02")
    geometry_share: float = _option(
        1.0, "share of images that rotation, shift, zoom and elastic change, drawn anew for each"
    )
    tone_share: float = _option(
        1.0, "share of images that brightness, contrast and gamma change, drawn anew for each"
    )

    # The network
    architecture: str = _option(
        "unet", "how the decoder is made; those of segmentation-models", ("unet", "fpn", "linknet", "pspnet")
    )
    encoder: str = _option("xception", "xception, or any encoder of segmentation-models")
    encoder_weights: str = _option("imagenet", "'imagenet', 'none', or a file or model folder of weights")
    decoder_filters: tuple[int, ...] = _option(
        (256, 128, 64, 32, 16),
        "filters of unet's five blocks, deepest first; linknet uses the last alone, fpn (256) and "
        "pspnet (512) have their own",
    )
    classification_head: bool = _option(
        False,
        "add a classification head to the encoder: is there a pneumothorax (term 'classification')",
    )
    init_from: str = _option("", "begin with the weights of the same fold of this run, of any size")
    prior: float = _option(0.5, "probability that the untrained network gives a pixel")
    batch_norm_momentum: float = _option(
        0.99, "share of the old in batch normalisation's running averages; lower follows faster"
    )
    precision: str = _option(
        "auto",
        "'auto': mixed_float16 on a GPU, mixed_bfloat16 on a CPU that computes in it, else float32",
        ("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )

    flip_tta: bool = _option(False, "predict each image and its mirror image, and take the mean")

    # The loss
    loss: str = _option(
        "bce + log_dice", f"sum of {', '.join(TERMS)}, with weights or without, such as '{EXAMPLE}'"
    )
    loss_reduction: str = _option(
        "batch",
        "dice and log_dice over the whole batch as one image (the paper), or per image",
        ("batch", "image"),
    )
    smooth: float = _option(0.1, "added to numerator and denominator of the soft Dice, in pixels")
    focal_gamma: float = _option(
        2.0, "power by which focal plays down pixels that are right already; 0 makes it bce"
    )
    boundary_schedule: str = _option(
        "constant",
        "boundary's weight w: constant; rising by boundary_rise an epoch; rebalanced: so, the other terms "
        "times 1 - w",
        ("constant", "rising", "rebalanced"),
    )
    boundary_rise: float = _option(0.01, "what boundary's weight grows by an epoch")

    # The schedule
    batch_size: int = _option(16, "images per step")
    accumulate: int = _option(1, "steps whose mean gradient makes one update, as of so many times the batch")
    learning_rate: float = _option(1e-4, "Adam's learning rate at the start, or after the warm-up")
    encoder_rate: float = _option(
        1.0, "the encoder's learning rate as a share of the decoder's; 0 freezes the encoder"
    )
    freeze_batch_norm: bool = _option(
        False, "keep the running averages of the encoder's batch normalisation, and use them in training"
    )
    weight_decay: float = _option(
        0.0, "share of each kernel that decays in a step, times the learning rate (AdamW)"
    )
    clip_norm: float = _option(0.0, "longest gradient, all weights as one vector; 0: any")
    schedule: str = _option(
        "plateau",
        "'plateau': the rate falls when the validation loss does not; 'cosine': to 0 over all epochs",
        ("plateau", "cosine"),
    )
    warmup_epochs: float = _option(0.0, "epochs over which the rate of 'cosine' rises from 0")
    ema: float = _option(
        0.0, "momentum of the weights' moving average, which is what validates and predicts; 0: none"
    )
    average_best: int = _option(1, "how many of the best epochs' weights are averaged at the end")
    monitor: str = _option(
        "soft_dice",
        "the score on the validation images that picks the best epochs: 'gain', of the best decision rule's "
        "mean Dice over leaving every image empty; or a mean Dice: soft, of masks cut at 0.5, or of "
        "positives and of negatives, each half",
        ("gain", "soft_dice", "hard_dice", "balanced_dice"),
    )
    epochs: int = _option(200, "most epochs to train")
    plateau_patience: int = _option(4, "epochs without a lower validation loss before the rate falls")
    plateau_factor: float = _option(0.2, "what the learning rate is multiplied by then")
    early_stop_patience: int = _option(50, "epochs without a higher mean validation Dice before the end")
    legs: str = _option(
        "",
        "further legs of training, each from the best weights so far, as changes of the recipe, such as "
        f"'{LEGS_EXAMPLE}'; ';' parts legs",
    )
    seed: int = _option(0, "seed of the split, the weights, the order and the augmentation")
    deterministic: str = _option(
        "auto",
        "bit-equal results of equal runs on one machine; 'auto': on CPUs, where they cost nothing, not on "
        "GPUs, which then compute by XLA; 'true': there too, several times slower",
        ("auto", "true", "false"),
    )

    def __post_init__(self) -> None:
        check_types(self)
        # Spelled one way, so that spaces make no other recipe.
        object.__setattr__(self, "loss", write_loss(parse_loss(self.loss)))
        object.__setattr__(self, "legs", write_legs(parse_legs(self.legs)))
        check_values(self)

    @property
    def augments(self) -> bool:
        """Whether any augmentation is switched on."""
        return self.flip or self.moves or any((self.brightness, self.contrast, self.gamma))

    @property
    def moves(self) -> bool:
        """Whether augmentation may move a lesion out of view."""
        return any((self.rotation_degrees, self.shift, self.zoom, self.elastic))


# The winners' ideas with the paper's network; docs/method.md says what each of them gave.
# `make train RECIPE=strong` trains five folds, 40 epochs at 256 pixels and 15 at 512.
_STRONG = Recipe(
    name="strong",
    size=256,
    interpolation="area",
    positives_only=False,
    split="folds",
    positive_rate=0.8,
    positive_rate_end=0.25,
    flip=True,
    rotation_degrees=10.0,
    shift=0.06,
    zoom=0.1,
    brightness=0.1,
    contrast=0.2,
    gamma=0.25,
    elastic=0.02,
    geometry_share=0.5,
    tone_share=0.3,
    classification_head=True,
    prior=0.01,
    batch_norm_momentum=0.9,
    flip_tta=True,
    loss="bce + log_dice + 0.1 * classification",
    learning_rate=3e-4,
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=1.0,
    monitor="gain",
    epochs=40,
    legs="size=512, epochs=15, positive_rate=0.6, learning_rate=2e-4",
)

RECIPES = {
    # The paper, exactly: total Dice 37.85 %, mean Dice 30.03 % on positives at 128 pixels.
    # `pneumothorax train --recipe seed`; 1,802 images an epoch, about 100 seconds of one on two CPU cores.
    "seed": Recipe(),
    "strong": _STRONG,
    # A small encoder for a machine without a GPU. `make train RECIPE=lite ARGS="--fold 0"`: 36 minutes on two
    # CPU cores for 2,564 real images; metric .860, all-empty .827 (by another model's masks).
    "lite": replace(
        _STRONG,
        name="lite",
        encoder="efficientnetlite0",
        size=128,
        epochs=8,
        legs="size=256, epochs=12, positive_rate=0.6, learning_rate=2e-4",
    ),
    # Proves the road, not the method: positives and negatives at 64 pixels, from random weights.
    # `make demo`; about two minutes on two cores; competition metric .89 where all-empty scores .78.
    "smoke": Recipe(
        name="smoke",
        size=64,
        interpolation="area",
        positives_only=False,
        split="folds",
        flip=True,
        rotation_degrees=5.0,
        shift=0.05,
        encoder="resnet18",
        encoder_weights="none",
        decoder_filters=(128, 64, 32, 16, 16),
        prior=0.01,
        batch_norm_momentum=0.9,
        flip_tta=True,
        learning_rate=1e-3,
        monitor="gain",
        epochs=18,
        plateau_patience=3,
    ),
}


def find_recipe(name: str, **overrides: Any) -> Recipe:
    """Return the named recipe with some fields replaced.

    Raises:
        UserError: There is no such recipe, or a value is out of range.
    """
    if name not in RECIPES:
        raise UserError(f"recipe {name!r}", "one of " + ", ".join(RECIPES))
    return replace(RECIPES[name], **overrides)


def to_json(recipe: Recipe) -> str:
    """Write a recipe as JSON text; the inverse of `from_json`."""
    return json.dumps(asdict(recipe), indent=2) + "\n"


def from_json(text: str) -> Recipe:
    """Read a recipe from JSON text; the inverse of `to_json`.

    One that was written before a field of `_ADDED` came takes the value that it was trained by.

    Raises:
        UserError: The text is no JSON object, its fields are not this version's, or a value is wrong.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"text that is no JSON ({error})") from None
    names = {part.name for part in fields(Recipe)}
    if isinstance(values, dict):
        values = {**_ADDED, **values}
    if not isinstance(values, dict) or set(values) != names:
        strange = sorted(names ^ set(values)) if isinstance(values, dict) else type(values).__name__
        raise UserError(
            f"a recipe of another version (fields that differ: {strange})",
            "the fields of this version",
            "install the version that made it, or train again",
        )
    if isinstance(values["deterministic"], bool):  # as it was written before 'auto'
        values["deterministic"] = str(values["deterministic"]).lower()
    if isinstance(values["decoder_filters"], list):  # JSON has no tuples
        values["decoder_filters"] = tuple(values["decoder_filters"])
    return Recipe(**values)


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Name each field that differs, as ``field old -> new``."""
    pairs = ((part.name, getattr(old, part.name), getattr(new, part.name)) for part in fields(Recipe))
    return [f"{name} {before!r} -> {after!r}" for name, before, after in pairs if before != after]


def describe(recipe: Recipe) -> str:
    """Name a recipe in one line: the name it began as, and each field that was changed since."""
    base = RECIPES.get(recipe.name)
    changed = [] if base is None else [part.replace(" -> ", " to ") for part in differences(base, recipe)]
    return recipe.name + (f" ({'; '.join(changed)})" if changed else "")
