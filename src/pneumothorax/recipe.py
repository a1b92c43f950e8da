"""Recipe: everything a training run depends on besides the data.

A default, its range and its help text stand here and nowhere else; the command line derives a flag from each
field. It knows nothing of files, arrays or networks.
"""

import json
from dataclasses import asdict, dataclass, fields

from pneumothorax.errors import UserError
from pneumothorax.legs import EXAMPLE as LEGS_EXAMPLE
from pneumothorax.legs import parse_legs, write_legs
from pneumothorax.loss_text import EXAMPLE, TERMS, parse_loss, write_loss
from pneumothorax.recipe_checks import check_together
from pneumothorax.recipe_fields import (
    BETWEEN_0_AND_1,
    SHARE,
    SHARE_BELOW_1,
    Range,
    check_fields,
    option,
    parse_fields,
)


@dataclass(frozen=True)
class Recipe:
    """One way to train. The defaults are the paper's (Steinberger Eriksson 2019)."""

    name: str = option("seed", "name of the recipe this one began as")

    # The network's input
    size: int = option(128, "side of image and mask in pixels, divisible by 32 (pspnet: by 48)")
    interpolation: str = option(
        "bilinear", "how 1024 pixels become SIZE; bicubic is clipped", ("bilinear", "bicubic", "area")
    )
    positives_only: bool = option(True, "train and stop on images with a pneumothorax alone")
    split: str = option(
        "paper",
        "'paper': 1802/200/377 of 2379, by image (leaks patients); 'folds': grouped by patient",
        ("paper", "folds"),
    )
    fold_count: int = option(5, "number of folds of the split 'folds'", within=Range(2))
    positive_rate: float = option(
        0.0,
        "share of positives in the first epoch, all of them with as many negatives; 0: images as they come",
        within=SHARE,
    )
    positive_rate_end: float = option(
        0.0,
        "the share in the last planned epoch, reached in a straight line; 0: as in the first",
        within=SHARE,
    )
    hard_negatives: bool = option(
        False, "draw negatives in which the last epoch found something four times as often"
    )

    # Augmentation of image and mask together; 0 switches a part off
    flip: bool = option(False, "mirror left and right, one time in two")
    rotation_degrees: float = option(0.0, "rotate by up to this many degrees either way", within=Range(0))
    shift: float = option(0.0, "shift by up to this share of the side", within=SHARE_BELOW_1)
    zoom: float = option(0.0, "grow or shrink by up to this share", within=SHARE_BELOW_1)
    brightness: float = option(
        0.0, "brighten or darken by up to this share of the value range", within=SHARE_BELOW_1
    )
    contrast: float = option(0.0, "change contrast by up to this share", within=SHARE_BELOW_1)
    gamma: float = option(
        0.0, "raise grey values to a power of up to 1 + this, or its inverse", within=Range(0, 4)
    )
    elastic: float = option(
        0.0,
        "bend smoothly by about this share of the side, such as 0.02",
        within=Range(0, 0.05, reason="above which tissue would fold"),
    )
    geometry_share: float = option(
        1.0,
        "share of images that rotation, shift, zoom and elastic change, drawn again for each",
        within=SHARE,
    )
    tone_share: float = option(
        1.0, "share of images that brightness, contrast and gamma change, drawn again for each", within=SHARE
    )

    # The network
    architecture: str = option(
        "unet", "how the decoder is made; those of segmentation-models", ("unet", "fpn", "linknet", "pspnet")
    )
    encoder: str = option("xception", "xception, or any encoder of segmentation-models")
    encoder_weights: str = option(
        "imagenet",
        "'imagenet', 'none', a file or model folder of weights, or a published model: kaggle://... or hf://...",
    )
    decoder_filters: tuple[int, ...] = option(
        (256, 128, 64, 32, 16),
        "filters of unet's five blocks, deepest first; linknet uses the last alone, fpn (256) and "
        "pspnet (512) have their own",
        within=Range(1),
    )
    classification_head: bool = option(
        False,
        "add a classification head to the encoder: is there a pneumothorax (term 'classification')",
    )
    init_from: str = option("", "begin with the weights of the same fold of this run, of any size")
    prior: float = option(0.5, "probability that the untrained network gives a pixel", within=BETWEEN_0_AND_1)
    batch_norm_momentum: float = option(
        0.99,
        "share of the old in batch normalisation's running averages; lower follows faster",
        within=BETWEEN_0_AND_1,
    )
    precision: str = option(
        "auto",
        "'auto': mixed_float16 on a GPU, mixed_bfloat16 on a CPU that computes in it, else float32",
        ("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )

    flip_tta: bool = option(False, "predict each image and its mirror image, and take the mean")

    # The loss
    loss: str = option(
        "bce + log_dice", f"sum of {', '.join(TERMS)}, with weights or without, such as '{EXAMPLE}'"
    )
    loss_reduction: str = option(
        "batch",
        "dice and log_dice over the whole batch as one image (the paper), or per image",
        ("batch", "image"),
    )
    smooth: float = option(
        0.1, "added to numerator and denominator of the soft Dice, in pixels", within=Range(0)
    )
    focal_gamma: float = option(
        2.0, "power by which focal plays down pixels that are right already; 0 makes it bce", within=Range(0)
    )
    boundary_schedule: str = option(
        "constant",
        "boundary's weight w: constant; rising by boundary_rise an epoch; rebalanced: so, the other terms "
        "times 1 - w",
        ("constant", "rising", "rebalanced"),
    )
    boundary_rise: float = option(0.01, "growth of the weight of boundary in an epoch", within=Range(0))

    # The schedule
    batch_size: int = option(16, "images per step", within=Range(1))
    accumulate: int = option(
        1, "steps whose mean gradient makes one update, as of so many times the batch", within=Range(1)
    )
    learning_rate: float = option(
        1e-4, "Adam's learning rate at the start, or after the warm-up", within=Range(0, low_open=True)
    )
    encoder_rate: float = option(
        1.0, "the encoder's learning rate as a share of the decoder's; 0 freezes the encoder", within=Range(0)
    )
    freeze_batch_norm: bool = option(
        False, "keep the running averages of the encoder's batch normalisation, and use them in training"
    )
    weight_decay: float = option(
        0.0, "share of each kernel that decays in a step, times the learning rate (AdamW)", within=Range(0)
    )
    clip_norm: float = option(0.0, "longest gradient, all weights as one vector; 0: any", within=Range(0))
    schedule: str = option(
        "plateau",
        "'plateau': the rate falls when the validation loss does not; 'cosine': to 0 over all epochs",
        ("plateau", "cosine"),
    )
    warmup_epochs: float = option(0.0, "epochs over which the rate of 'cosine' rises from 0", within=Range(0))
    ema: float = option(
        0.0,
        "momentum of the weights' moving average, which validates and predicts; 0: none",
        within=SHARE_BELOW_1,
    )
    average_best: int = option(
        1, "how many of the best epochs' weights are averaged at the end", within=Range(1)
    )
    monitor: str = option(
        "soft_dice",
        "the score on the validation images that picks the best epochs: 'gain', of the best decision rule's "
        "mean Dice over leaving every image empty; or a mean Dice: soft, of masks cut at 0.5, or of "
        "positives and of negatives, each half",
        ("gain", "soft_dice", "hard_dice", "balanced_dice"),
    )
    epochs: int = option(200, "most epochs to train", within=Range(1))
    plateau_patience: int = option(
        4, "epochs without a lower validation loss before the rate falls", within=Range(1)
    )
    plateau_factor: float = option(0.2, "factor of the learning rate then", within=BETWEEN_0_AND_1)
    early_stop_patience: int = option(
        50, "epochs without a higher mean validation Dice before the end", within=Range(1)
    )
    legs: str = option(
        "",
        "further legs of training, each from the best weights so far, as changes of the recipe, such as "
        f"'{LEGS_EXAMPLE}'; ';' parts legs",
    )
    seed: int = option(0, "seed of the split, the weights, the order and the augmentation", within=Range(0))
    deterministic: str = option(
        "auto",
        "bit-equal results of equal runs on one machine; 'auto': on CPUs, where they cost nothing, not on "
        "GPUs, which then compute by XLA; 'true': there too, without XLA",
        ("auto", "true", "false"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        # Spelled one way, so that spaces make no other recipe.
        object.__setattr__(self, "loss", write_loss(parse_loss(self.loss)))
        object.__setattr__(self, "legs", write_legs(parse_legs(self.legs)))
        check_together(self)

    @property
    def augments(self) -> bool:
        """Whether any augmentation is switched on."""
        return self.flip or self.moves or any((self.brightness, self.contrast, self.gamma))

    @property
    def moves(self) -> bool:
        """Whether augmentation may move a lesion out of view."""
        return any((self.rotation_degrees, self.shift, self.zoom, self.elastic))


def to_json(recipe: Recipe) -> str:
    """Write a recipe as JSON text; the inverse of `from_json`."""
    return json.dumps(asdict(recipe), indent=2) + "\n"


def from_json(text: str) -> Recipe:
    """Read a recipe with exactly the fields of this version; the inverse of `to_json`.

    Raises:
        UserError: The text is not a JSON object, its fields are not this version's, or a value is wrong.
    """
    values = parse_fields(text, Recipe)
    if missing := [part.name for part in fields(Recipe) if part.name not in values]:
        raise UserError(
            f"a recipe of another version (without {', '.join(missing)})",
            "every field of this version",
            "install the version that wrote it, or train again",
        )
    return Recipe(**values)


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Name each field that differs, as ``field old -> new``."""
    pairs = ((part.name, getattr(old, part.name), getattr(new, part.name)) for part in fields(Recipe))
    return [f"{name} {before!r} -> {after!r}" for name, before, after in pairs if before != after]
