import pydicom
import pytest

from pneumothorax.data.attributes import explain, number, numbers, whole, words


def dataset(**tags):
    made = pydicom.Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def test_values_are_numbers_and_what_is_missing_or_empty_is_none():
    made = dataset(WindowCenter=["40", "50.5"], WindowWidth="")
    assert numbers(made, "WindowCenter") == [40.0, 50.5]
    assert number(made, "WindowCenter") == 40.0
    for keyword in ("WindowWidth", "RescaleSlope"):
        assert numbers(made, keyword) == []
        assert number(made, keyword) is None


def test_a_number_that_is_not_finite_names_its_attribute():
    made = pydicom.Dataset()
    made.add_new("RescaleSlope", "FD", float("nan"))
    with pytest.raises(ValueError, match=r"RescaleSlope is 'nan', not a finite number"):
        number(made, "RescaleSlope")


@pytest.mark.parametrize(("value", "fits"), [(1, True), (16, True), (0, False), (17, False)])
def test_a_whole_number_lies_in_its_range(value, fits):
    made = dataset(BitsStored=value)
    if fits:
        assert whole(made, "BitsStored", 1, 16) == value
    else:
        with pytest.raises(ValueError, match=f"BitsStored is {value}, not a whole number from 1 to 16"):
            whole(made, "BitsStored", 1, 16)


def test_a_required_number_is_missing_and_another_has_its_default():
    with pytest.raises(ValueError, match="Rows is missing"):
        whole(dataset(), "Rows", 1, 100)
    assert whole(dataset(), "Rows", 1, 100, 7) == 7


def test_codes_are_in_capitals_without_their_padding():
    made = dataset(ImageType=["ORIGINAL", "PRIMARY"], Modality="CR")
    assert words(made, "ImageType") == ["ORIGINAL", "PRIMARY"]
    assert words(made, "Modality") == ["CR"]
    assert words(made, "PatientSex") == []


def test_a_sequence_in_a_values_place_is_named_and_not_shown():
    deep = dataset(PatientID="p1")
    for _ in range(400):
        outer = pydicom.Dataset()
        outer.add_new("RequestAttributesSequence", "SQ", [deep])
        deep = outer
    made = pydicom.Dataset()
    for keyword in ("Rows", "PhotometricInterpretation"):
        made.add_new(keyword, "SQ", [deep])
    with pytest.raises(ValueError, match=r"^Rows is a sequence, not a number$"):
        number(made, "Rows")
    with pytest.raises(ValueError, match=r"^PhotometricInterpretation is a sequence$"):
        words(made, "PhotometricInterpretation")


def test_a_parsers_tag_has_its_name():
    assert explain(KeyError("bad value in (0028,0010)")) == "Rows cannot be parsed"
    assert explain(EOFError()) == "the file ends early, within an attribute"
    assert explain(RuntimeError()) == "RuntimeError"
