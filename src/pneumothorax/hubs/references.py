"""Addresses of published models: ``kaggle://owner/model/framework/variation[/version]``, ``hf://owner/name[@revision]``.

Reads texts alone.
"""

import re
from dataclasses import dataclass, replace

from pneumothorax.errors import UserError

KAGGLE, HUGGING_FACE = "kaggle", "hf"
FORMS = {
    KAGGLE: "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]",
    HUGGING_FACE: "hf://OWNER/NAME[@REVISION]",
}
# Kaggle's own pattern of a slug; Hugging Face's, where -- and .. are forbidden as well.
_SLUG = "[a-z0-9]+(?:[-_][a-z0-9]+)*"
_NAME = r"[A-Za-z0-9](?:(?!--|\.\.)[A-Za-z0-9._-])*"
_PATTERNS = {
    KAGGLE: rf"kaggle://({_SLUG}/{_SLUG}/[A-Za-z0-9]+/{_SLUG})(?:/([1-9][0-9]{{0,8}}))?",
    HUGGING_FACE: rf"hf://({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._-]*))?",
}


@dataclass(frozen=True)
class Reference:
    """An address of a published model.

    Attributes:
        hub: `KAGGLE` or `HUGGING_FACE`.
        name: 'owner/model/framework/variation' on Kaggle, 'owner/name' on Hugging Face.
        version: Number of a version on Kaggle, a branch, tag or commit on Hugging Face; '' for the newest.
    """

    hub: str
    name: str
    version: str = ""

    @property
    def folder(self) -> str:
        """A name for a folder of this version; no two addresses share one, as no part of them has a --."""
        return "--".join([self.hub, *self.name.split("/"), self.version])

    @property
    def is_fixed(self) -> bool:
        """Whether it always means the same files: a number on Kaggle, a whole commit on Hugging Face."""
        return bool(re.fullmatch(r"\d+" if self.hub == KAGGLE else "[0-9a-f]{40}", self.version))

    def at(self, version: str) -> "Reference":
        """Return the address of one version."""
        return replace(self, version=version)

    def __str__(self) -> str:
        sign = "/" if self.hub == KAGGLE else "@"
        return f"{self.hub}://{self.name}" + f"{sign}{self.version}" * bool(self.version)


def is_reference(text: str) -> bool:
    """Return whether a text means a published model, well written or not."""
    return text.startswith(tuple(f"{hub}://" for hub in FORMS))


def parse_reference(text: str) -> Reference:
    """Read an address.

    Raises:
        UserError: It is not one.
    """
    hub = text.partition("://")[0]
    match = re.fullmatch(_PATTERNS.get(hub, "$^"), text)
    if match is None:
        raise UserError(f"{text!r}", FORMS.get(hub) or " or ".join(FORMS.values()))
    return Reference(hub, match[1], match[2] or "")
