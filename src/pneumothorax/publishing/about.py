"""Facts of a publication that stand in no file of the run: its address, its data's terms, its licence."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.hubs.references import HUGGING_FACE, KAGGLE, Reference, parse_reference
from pneumothorax.recipe import Recipe

FRAMEWORK = "keras"  # of a Kaggle Model
OWNER = "OWNER"  # in the address of a dry run that signs in nowhere
LICENSES = {  # name on Hugging Face: name on Kaggle
    "cc-by-nc-4.0": "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)",
    "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0",
    "cc-by-4.0": "Attribution 4.0 International (CC BY 4.0)",
    "cc0-1.0": "CC0: Public Domain",
    "apache-2.0": "Apache 2.0",
    "mit": "MIT",
}
COMPETITION = "https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation"
REAL = f"[SIIM-ACR Pneumothorax Segmentation]({COMPETITION}) (Kaggle, 2019)"
REAL_TERMS = (
    f"The radiographs and masks are those of {REAL}, under its [rules]({COMPETITION}/rules): they may be "
    "used, not passed on. None of them is here: no image, mask, annotation or patient's id."
)
PHANTOM = "the artificial competition of `pneumothorax phantom`"
PHANTOM_TERMS = (
    f"The radiographs and masks are **drawn by a program**, {PHANTOM}: no patient was ever imaged. The model "
    "shows that the kit works, and is of no use on real radiographs."
)


@dataclass(frozen=True)
class About:
    """A publication.

    Attributes:
        reference: Its address; of a dry run perhaps with `OWNER` as owner.
        title: For people, such as 'Pneumothorax: strong'.
        data: Data of the run, a few words of Markdown.
        terms: Their terms, a paragraph of Markdown.
        license: A key of `LICENSES`, for the weights.
        is_competition: Whether the data are the competition's, with whose scores others compare.
        is_public: Whether a new model is public.
    """

    reference: Reference
    title: str
    data: str
    terms: str
    license: str
    is_competition: bool = True
    is_public: bool = False

    @property
    def kaggle(self) -> bool:
        """Whether it goes to Kaggle."""
        return self.reference.hub == KAGGLE


def choose_address(hub: str, name: str | None, run: str, recipe: Recipe, owner: str = "") -> Reference:
    """Return the address of a run's model.

    Args:
        hub: `KAGGLE` or `HUGGING_FACE`.
        name: OWNER/NAME, NAME, or None for a name made of the run's.
        run: Name of the run.
        recipe: Its recipe; network and size name the variation on Kaggle.
        owner: The user who is signed in; '' if unknown.

    Raises:
        UserError: The hub takes no such name.
    """
    given, slash, last = (name or "").rpartition("/")
    if slash and not given:
        raise UserError(f"--name {name}", "NAME or OWNER/NAME")
    owner, model = given or owner or OWNER, last or f"pneumothorax-{_slug(run)}".rstrip("-")
    parts = [owner, model]
    if hub == KAGGLE:
        parts += [FRAMEWORK, _slug(f"{recipe.encoder}-{recipe.size}")]
    try:
        found = parse_reference(f"{hub}://{'/'.join(parts).replace(OWNER, 'owner', owner == OWNER)}")
    except UserError:
        letters = (
            "small letters, digits and single hyphens" if hub == KAGGLE else "letters, digits, - _ and ."
        )
        raise UserError(f"--name {owner}/{model}", f"OWNER/NAME of {letters}", "choose a --name") from None
    if not (6 <= len(model) <= 50 if hub == KAGGLE else len(model) <= 96):
        raise UserError(
            f"--name {model}", "a name of 6 to 50 letters" if hub == KAGGLE else "96 letters or fewer"
        )
    return replace(found, name="/".join(parts))


def publishable(recipe: Recipe) -> Recipe:
    """Return a recipe without a path of this machine: of a weights file, its name alone."""
    if recipe.encoder_weights in ("imagenet", "none"):
        return recipe
    return replace(recipe, encoder_weights=Path(recipe.encoder_weights).name or "file")


def _slug(text: str) -> str:
    """Return a text as a slug: small letters and digits, with single hyphens between."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


HUBS = {"kaggle": KAGGLE, "huggingface": HUGGING_FACE}
