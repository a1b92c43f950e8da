"""Attributes that a DICOM object must copy from its image: patient, study, and instance.

Real files lack many of them, or hold invalid values: invalid UIDs are replaced by generated ones, and
other invalid values are left empty. Knows nothing of segmentations.

Generated ids depend on the file's bytes, patient and pixels included: the same file gives the same ids,
and two files never share one, even with the same name or if they claim to be the same instance.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.valuerep import validate_value

from pneumothorax.data.dicom import read_header
from pneumothorax.data.dicom_tags import read_text
from pneumothorax.data.spacing import is_of_larger_image, spacing_of

# Character set, patient and study: they let a PACS file an object with its image.
_IDENTITY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "StudyDate", "StudyTime", "StudyID"),
    *("StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
)
_CHECKED = {"AS", "CS", "DA", "DS", "TM"}  # an invalid value of these is dropped
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_ANY_CLASS = uid.SecondaryCaptureImageStorage  # of files without a class


@dataclass(frozen=True)
class Reference:
    """An image to refer to.

    Attributes:
        image: A data set with its size, its class and three valid UIDs, and no patient.
        identity: Patient and study as the file has them, raw.
        orientation: Directions of rows and columns, such as ['L', 'F']; empty if missing.
        spacing_mm: PixelSpacing, (row, column); None if missing or not plausible for this image.
        body_part: BodyPartExamined; '' if missing, or not a code word.
        burned_in: BurnedInAnnotation, 'YES' or 'NO'; '' if missing.
        made_up: The ids that were generated because they are missing in the file or not UIDs.
        digest: Digest of the file's bytes.
    """

    image: pydicom.Dataset
    identity: list[DataElement | RawDataElement]
    orientation: list[str]
    spacing_mm: tuple[float, float] | None
    body_part: str
    burned_in: str
    made_up: list[str]
    digest: str

    def new_uid(self, *of_what: str) -> str:
        """Return a UID for an object made of the image: the same for the same file and words."""
        return derive_uid(self.digest, *of_what)


def read_reference(path: Path) -> Reference | None:
    """Read the attributes to copy from an image; None if the file is not DICOM."""
    header = read_header(path)
    if header is None:
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    texts = {tag: element.value for tag, element in header.items()}  # raw, as yet
    image, made_up = pydicom.Dataset(), []
    for name in (*_UIDS, "SOPClassUID"):
        text = read_text(texts, tag_for_keyword(name) or 0)
        if not (text and uid.UID(text, config.IGNORE).is_valid):
            made_up.append(name)
            text = _ANY_CLASS if name == "SOPClassUID" else derive_uid(digest, name)
        setattr(image, name, text)
    shape = image.Rows, image.Columns = header.Rows, header.Columns
    spacing = spacing_of(read_text(texts, 0x00280030), shape)
    image.Modality = _code(texts, 0x00080060) or "OT"
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, name, "")
    image.StudyDate = image.StudyTime = None
    return Reference(
        image=image,
        identity=[element for name in _IDENTITY if (element := _valid(header, name))],
        orientation=[part for part in _code(texts, 0x00200020).split("\\") if part],
        spacing_mm=None if spacing is None or is_of_larger_image(spacing, shape) else spacing,
        body_part=_code(texts, 0x00180015),
        burned_in=burned_in if (burned_in := read_text(texts, 0x00280301).upper()) in ("YES", "NO") else "",
        made_up=made_up,
        digest=digest,
    )


def derive_uid(*sources: str) -> str:
    """Return the UID that belongs to some words."""
    return str(uid.generate_uid("2.25.", entropy_srcs=["\0".join(sources)]))


def _code(texts: dict[int, Any], tag: int) -> str:
    """Return an element's code words (value representation CS), "" if one of them is invalid."""
    text = read_text(texts, tag)
    try:
        for word in text.split("\\"):
            validate_value("CS", word, config.RAISE)
    except ValueError:
        return ""
    return text


def _valid(header: pydicom.Dataset, name: str) -> DataElement | RawDataElement | None:
    """Return an element as the file has it, None if it is missing or its value is invalid.

    Its bytes are copied: they keep their meaning in the file's character set.
    """
    tag = tag_for_keyword(name)
    element = header.get_item(tag) if tag in header else None
    if not isinstance(element, RawDataElement):
        return element  # the character set, already parsed
    kind = dictionary_VR(tag)
    text = read_text({tag: element.value}, tag)
    if kind in _CHECKED and text:
        try:
            validate_value(kind, text, config.RAISE)
        except ValueError:
            return None
    return element._replace(VR=kind)
