"""A mask as DICOM Segmentation, an overlay as Secondary Capture: objects that a PACS files with the image.

The only module that imports highdicom. Both objects name the patient and the study of the image, and are
series of their own. An empty mask has no Segmentation: the standard allows none without a segment, and a
segment that says "pneumothorax" about an image without one would be misread.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.sr.coding import CodedConcept

from pneumothorax import __version__
from pneumothorax.data.attributes import explain
from pneumothorax.data.dicom import quiet
from pneumothorax.segmentation.reference import Reference, read_reference
from pneumothorax.segmentation.results import NOTE
from pneumothorax.workspace import atomic

MAKER = "pneumothorax"
SERIES_NUMBERS = {"seg": 7101, "sc": 7102}  # above those of a hospital's own

_CATEGORY = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
_PROPERTY = CodedConcept("36118008", "SCT", "Pneumothorax")
_FAMILY = CodedConcept("123109", "DCM", "Artificial Intelligence")


def write_objects(
    kinds: Mapping[str, Path],
    source: Path,
    mask: npt.NDArray[np.bool_],
    drawn: npt.NDArray[np.uint8],
    caption: str,
    made_by: str,
) -> tuple[set[str], list[str]]:
    """Write the requested objects of one image, as far as its file allows it.

    Args:
        kinds: The files to write, by 'dicom_seg' and 'dicom_sc'.
        source: The image's own file.
        mask: bool array of the image's shape (H, W).
        drawn: The overlay, uint8 of shape (H, W) or (H, W, 3) in RGB.
        caption: Text on the Secondary Capture.
        made_by: Description of networks and rule; the same gives the same UIDs.

    Returns:
        The kinds written, and notes for the user.
    """
    try:
        reference = read_reference(source)
    except Exception as error:  # pydicom converts values only now, and raises nearly anything
        return set(), [f"no DICOM object: {textwrap.shorten(explain(error), 200, placeholder=' ...')}"]
    if reference is None:
        return set(), ["no DICOM object: the image is no DICOM file"]
    names = ", ".join(reference.made_up)
    notes = [f"DICOM objects refer to made-up ids: its own are missing or invalid ({names})"] if names else []
    written = set()
    for kind, path in kinds.items():
        try:
            if kind == "dicom_sc":
                write_sc(path, reference, _captioned(drawn, caption), made_by)
            elif mask.any():
                write_seg(path, reference, mask, made_by)
            else:
                path.unlink(missing_ok=True)  # an older rule's
                continue
            written.add(kind)
        except (
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            Warning,
        ) as error:  # values that no file should hold
            reason = f"highdicom does not know {error}" if isinstance(error, KeyError) else error
            notes.append(f"no DICOM object: {reason} (its class is {reference.image.SOPClassUID.name})")
    return written, notes


def write_seg(path: Path, reference: Reference, mask: npt.NDArray[np.bool_], made_by: str) -> None:
    """Write a mask that is not empty as a binary DICOM Segmentation.

    It has no pixel spacing: viewers take that of the image it refers to, and highdicom reads none back
    without a slice thickness, which a radiograph does not have.

    Args:
        path: The file.
        reference: The image that was segmented.
        mask: bool array of the image's shape (H, W).
        made_by: Description of networks and rule; the same gives the same UIDs.
    """
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Pneumothorax",
        segmented_property_category=_CATEGORY,
        segmented_property_type=_PROPERTY,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MAKER, version=__version__, family=_FAMILY
        ),
    )
    made = hd.seg.Segmentation(
        source_images=[reference.image],
        pixel_array=mask[None].astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        content_label="PNEUMOTHORAX",
        content_description=NOTE,
        **_equipment(reference, "seg", made_by),
    )
    _save(made, path, reference)


def write_sc(path: Path, reference: Reference, drawn: npt.NDArray[np.uint8], made_by: str) -> None:
    """Write an overlay as a Secondary Capture in colour.

    The drawing names nobody, but the image's own pixels may: the file's
    BurnedInAnnotation is carried over, and without one the object has none, which by the standard (PS3.3,
    C.7.6.1.1) means that there may be such an annotation or not.

    Args:
        path: The file.
        reference: The image that it was drawn on.
        drawn: uint8 array of shape (H, W, 3), RGB.
        made_by: Description of networks and rule; the same gives the same UIDs.
    """
    made = hd.sc.SCImage(
        pixel_array=np.ascontiguousarray(drawn),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # it wants one; the true one is set below
        study_instance_uid=reference.image.StudyInstanceUID,
        pixel_spacing=reference.spacing_mm,
        **_equipment(reference, "sc", made_by),
    )
    made.DerivationDescription = NOTE
    for name, text in (
        ("BodyPartExamined", reference.body_part),
        ("BurnedInAnnotation", reference.burned_in),
    ):
        if text:
            setattr(made, name, text)
    _save(made, path, reference)


def _captioned(drawn: npt.NDArray[np.uint8], caption: str) -> npt.NDArray[np.uint8]:
    """Write a line on a darkened strip at the bottom of a picture, and return it in RGB."""
    whole = np.repeat(drawn[..., None], 3, axis=2) if drawn.ndim == 2 else drawn.copy()
    height, width = whole.shape[:2]
    strip = max(height // 25, 1)
    whole[-strip:] //= 4
    scale = min(strip / 35, width / 20 / len(caption))
    place = (width // 50, height - strip // 3)
    cv2.putText(whole, caption, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return whole


def _equipment(reference: Reference, kind: str, made_by: str) -> dict[str, Any]:
    """Return the attributes by which every object describes itself and its maker."""
    return {
        "series_instance_uid": reference.new_uid(kind, made_by, "series"),
        "series_number": SERIES_NUMBERS[kind],
        "sop_instance_uid": reference.new_uid(kind, made_by, "instance"),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": __version__,
        "device_serial_number": "0",
        "series_description": f"Pneumothorax: {NOTE}",
    }


def _save(made: hd.base.SOPClass, path: Path, reference: Reference) -> None:
    """Name patient and study, and write the file in one step."""
    for element in reference.identity:
        made[element.tag] = element
    made.PatientOrientation = reference.orientation or None
    with atomic(path) as temporary, quiet():  # the patient's texts are copied, valid or not
        made.save_as(temporary)
