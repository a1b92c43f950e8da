from pneumothorax.errors import UserError, nearest


def test_the_nearest_name_resembles_the_word():
    assert nearest("strng", ["seed", "strong"]) == "did you mean strong?"
    assert nearest("both", ["seed", "strong"]) == nearest("both", []) == ""


def test_a_mistake_is_one_line_without_its_empty_parts():
    assert str(UserError("a\nb  c", "d", "e\n")) == "a b c; expected d; e"
    assert str(UserError("a", remedy="e")) == "a; e"
    assert str(UserError("a")) == "a"
