"""Write one image in the format of the competition's files: a JPEG in a Secondary Capture DICOM.

For `phantom` only, which invents a competition; `dicom` reads such files.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

QUALITY = 91  # of the JPEG: about 110-180 kB, as the real files


@dataclass(frozen=True)
class Label:
    """The metadata of an image's file.

    Attributes:
        image_id: SOPInstanceUID; in the test set ``ID_...``, which is no valid UID.
        uid: A valid UID, for the file's own header.
        patient: PatientID and PatientName; empty in the test set.
        study: StudyInstanceUID; empty in the test set.
        series: SeriesInstanceUID; empty in the test set.
        view: ``PA`` or ``AP``.
        sex: ``F`` or ``M``.
        age: Age in years; written as plain digits, as the real files do and the standard does not.
        spacing_mm: Side of a pixel.
    """

    image_id: str
    uid: str
    patient: str
    study: str
    series: str
    view: str
    sex: str
    age: int
    spacing_mm: float


def write_capture(path: Path, image: npt.NDArray[np.uint8], label: Label) -> None:
    """Write a DICOM file and the folders above it.

    Args:
        path: Output file.
        image: uint8 array of shape (H, W).
        label: Values of the tags.
    """
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")  # the real files' ids and ages are no valid ones either
        data = _describe(label)
        data.Rows, data.Columns = image.shape
        data.PixelData = encapsulate([_compress(image)], has_bot=False)
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, data, enforce_file_format=False)


def _describe(label: Label) -> Dataset:
    """Return every tag except the pixels."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = label.image_id
    data.StudyDate, data.StudyTime = "19010101", "000000.00"
    data.AccessionNumber = data.ReferringPhysicianName = data.PatientBirthDate = ""
    data.StudyID = data.PatientOrientation = ""
    data.Modality, data.ConversionType = "CR", "WSD"
    data.SeriesDescription = f"view: {label.view}"
    data.PatientName = data.PatientID = label.patient
    data.PatientSex, data.PatientAge = label.sex, str(label.age)
    data.BodyPartExamined, data.ViewPosition = "CHEST", label.view
    data.StudyInstanceUID, data.SeriesInstanceUID = label.study, label.series
    data.SeriesNumber = data.InstanceNumber = 1
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelSpacing = [label.spacing_mm] * 2
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
    data.preamble = b"\0" * 128
    data.file_meta = FileMetaDataset()
    data.file_meta.FileMetaInformationGroupLength = 0  # pydicom fills it in
    data.file_meta.FileMetaInformationVersion = b"\x00\x01"
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = label.uid
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.file_meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    return data


def _compress(image: npt.NDArray[np.uint8]) -> bytes:
    """Return a baseline JPEG of one component."""
    done, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise RuntimeError("OpenCV could not write a JPEG")
    return code.tobytes()
