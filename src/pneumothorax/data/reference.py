"""What a DICOM object made from an image must say of that image: patient, study, and which instance it is.

Real files lack much of it, or hold what no DICOM object may: ids are made up for those that are no UIDs, and
other values that would be invalid are left empty. Knows nothing of segmentations.
"""

from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import config, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.valuerep import validate_value

from pneumothorax.data.dicom import read_header
from pneumothorax.data.facts import read_text

# Character set, patient and study: what lets a PACS file an object with its image.
_IDENTITY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "StudyDate", "StudyTime", "StudyID"),
    *("StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
)
_CHECKED = {"AS", "CS", "DA", "DS", "TM"}  # of these an invalid value is worth less than none
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Reference:
    """An image to refer to.

    Attributes:
        image: A data set with its size, its class and three valid UIDs, and no patient.
        identity: Patient and study as the file has them, raw.
        orientation: Where rows and columns go, such as ['L', 'F']; empty where the file does not tell.
        made_up: Whether the file lacks a valid UID, so that one was made up.
    """

    image: pydicom.Dataset
    identity: list[DataElement | RawDataElement]
    orientation: list[str]
    made_up: bool

    def new_uid(self, *of_what: str) -> str:
        """Return a UID for something made of the image: the same for the same words."""
        return derive_uid(self.image.SOPInstanceUID, *of_what)


def read_reference(path: Path) -> Reference | None:
    """Read what must be said of an image; None where the file is no DICOM."""
    header = read_header(path)
    if header is None:
        return None
    texts = {tag: element.value for tag, element in header.items()}  # raw, as yet
    image = pydicom.Dataset()
    found = {name: read_text(texts, tag_for_keyword(name) or 0) for name in _UIDS}
    for name, text in found.items():
        valid = text and uid.UID(text, config.IGNORE).is_valid
        setattr(image, name, text if valid else derive_uid(name, path.name, *found.values()))
    image.SOPClassUID = read_text(texts, 0x00080016) or uid.SecondaryCaptureImageStorage
    image.Rows, image.Columns = header.Rows, header.Columns
    image.Modality = read_text(texts, 0x00080060) or "OT"
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, name, "")
    image.StudyDate = image.StudyTime = None
    return Reference(
        image=image,
        identity=[element for name in _IDENTITY if (element := _valid(header, name))],
        orientation=[part for part in read_text(texts, 0x00200020).split("\\") if part],
        made_up=any(getattr(image, name) != text for name, text in found.items()),
    )


def derive_uid(*sources: str) -> str:
    """Return the UID that belongs to some words."""
    return str(uid.generate_uid("2.25.", entropy_srcs=["\0".join(sources)]))


def _valid(header: pydicom.Dataset, name: str) -> DataElement | RawDataElement | None:
    """Return an element as the file has it, None where it is not there or its value is none of its kind.

    Its bytes are taken as they are: whatever they mean in the file's character set, they mean there too.
    """
    tag = tag_for_keyword(name)
    element = header.get_item(tag) if tag in header else None
    if not isinstance(element, RawDataElement):
        return element  # the character set, which the parser has read
    kind = dictionary_VR(tag)
    text = read_text({tag: element.value}, tag)
    if kind in _CHECKED and text:
        try:
            validate_value(kind, text, config.RAISE)
        except ValueError:
            return None
    return element._replace(VR=kind)
