"""DICOM files for tests, in the competition's shape or any other."""

import warnings
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

H, W = 24, 40
RAMP = np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1))
GREY = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (H, W), dtype=np.uint8), (5, 5), 0)
RAW, IMPLICIT, BIG = uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian
DEFLATED, JPEG, J2K = uid.DeflatedExplicitVRLittleEndian, uid.JPEGBaseline8Bit, uid.JPEG2000Lossless


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def dataset(
    pixels: np.ndarray, syntax: str = RAW, frame: bytes | None = None, **tags: Any
) -> pydicom.Dataset:
    """A data set in the competition's shape, with `pixels` uncompressed unless a `frame` is given."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality, made.Rows, made.Columns = "CR", *pixels.shape[:2]
    made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == BIG else "<"))
    made.PixelData = encapsulate([frame]) if frame else ordered.tobytes()
    made["PixelData"].VR = "OB" if frame or pixels.itemsize == 1 else "OW"
    made["PixelData"].is_undefined_length = frame is not None
    for name, value in tags.items():
        setattr(made, name, value)
    if "BitsStored" in tags:
        made.HighBit = made.BitsStored - 1
    return made


def written(made: pydicom.Dataset, preamble: bool = True) -> bytes:
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if preamble:
            pydicom.dcmwrite(file, made, enforce_file_format=True)
        else:
            syntax = made.file_meta.TransferSyntaxUID
            del made.file_meta
            implicit = syntax.is_implicit_VR
            pydicom.dcmwrite(file, made, implicit_vr=implicit, little_endian=syntax.is_little_endian)
    return file.getvalue()


def lut(values: list[int], bits: int, signed: bool = False) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(values), 0, bits])
    item.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    return item
