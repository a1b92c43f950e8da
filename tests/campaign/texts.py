"""CSV texts of the competition, mutated: characters, cells, rows, encodings and archives."""

import gzip
import io
import random
import zipfile

from tests.data.test_any_text import DIGITS, NUMBERS, OTHER, SPACES

IDS = ("ID_0a", "ID_0b", "1.2.276.0.7230010.3.1.4", "ID_0d")
HEADERS = (
    *("ImageId,EncodedPixels", "ImageId, EncodedPixels", "\ufeffImageId,EncodedPixels", "", "ImageId"),
    *("EncodedPixels,ImageId", "ImageId,EncodedPixels,more", '"ImageId","EncodedPixels"', "a,b"),
)
CODES = (
    "-1",
    " -1",
    "5 2",
    "0 1",
    "0 1048576",
    "100 20 1004 30 994 5",
    "1048575 1",
    "1048575 2",
    "",
    "nan",
    "3",
)
SIGNS = f"{SPACES}{DIGITS}{OTHER}\",;'\t\r\n\0\ufeff\\=@-"
ENCODINGS = ("latin-1", "utf-16", "utf-32", "utf-16-le", "cp037", "utf-7")
BOMB = 4e-4  # share of the archives that unpack to hundreds of megabytes


def sample_text() -> str:
    """Return the sample submission that belongs to the texts."""
    return "ImageId,EncodedPixels\n" + "".join(f"{name},-1\n" for name in IDS)


def make_text(dice: random.Random) -> bytes:
    """Return the bytes of a file: a good text after a few mutations, seldom of no sense at all."""
    rows = [[name, dice.choice(CODES[:6])] for name in IDS]
    header = dice.choice(HEADERS[:1] * 12 + HEADERS)
    for _ in range(dice.choice((0, 1, 1, 2, 3, 6))):
        dice.choice(_ON_ROWS)(dice, rows)
    end = dice.choice(("\n",) * 8 + ("\r\n", "\r", "\n\n", "\u2028"))
    text = end.join([header, *(dice.choice((",",) * 30 + (", ", ";", "\t")).join(row) for row in rows)])
    text += end * (dice.random() < 0.9)
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 8))):
        text = dice.choice(_ON_TEXT)(dice, text)
    content = text.encode("utf-8", "surrogatepass")
    if dice.random() < 0.02:
        content = text.encode(dice.choice(ENCODINGS), "replace")
    if dice.random() < 0.04:
        content = _mutate_bytes(dice, content)
    return _pack(dice, content) if dice.random() < 0.06 else content


def _change_code(dice: random.Random, rows: list[list[str]]) -> None:
    numbers = [dice.choice(NUMBERS) if dice.random() < 0.2 else str(dice.randrange(2000)) for _ in range(6)]
    dice.choice(rows)[-1] = dice.choice(" " * 12 + SPACES).join(numbers[: dice.randrange(7)])


def _take_code(dice: random.Random, rows: list[list[str]]) -> None:
    dice.choice(rows)[-1] = dice.choice((*CODES, *NUMBERS))


def _add_row(dice: random.Random, rows: list[list[str]]) -> None:
    rows.insert(dice.randrange(len(rows) + 1), list(dice.choice(rows)))


def _drop_row(dice: random.Random, rows: list[list[str]]) -> None:
    if len(rows) > 1:
        del rows[dice.randrange(len(rows))]


def _add_cell(dice: random.Random, rows: list[list[str]]) -> None:
    row = dice.choice(rows)
    row.insert(dice.randrange(len(row) + 1), dice.choice(("", " ", '"', "x", "5 2", "\0")))


def _drop_cell(dice: random.Random, rows: list[list[str]]) -> None:
    row = dice.choice(rows)
    if len(row) > 1:
        del row[dice.randrange(len(row))]


def _rename(dice: random.Random, rows: list[list[str]]) -> None:
    dice.choice(rows)[0] = dice.choice(
        (*IDS, "", " ", "ImageId", "-1", "../x", "a" * 300, "\u202e", "nan", "\0")
    )


def _quote(dice: random.Random, rows: list[list[str]]) -> None:
    row = dice.choice(rows)
    at = dice.randrange(len(row))
    row[at] = dice.choice(('"{}"', '"{}', '{}"', '""{}""', "'{}'", '"{}\n"', '"{}"x')).format(row[at])


def _insert(dice: random.Random, text: str) -> str:
    at = dice.randrange(len(text) + 1)
    sign = dice.choice(SIGNS) if dice.random() < 0.9 else chr(dice.randrange(0x110000))
    return text[:at] + sign * dice.choice((1, 1, 1, 2, 50)) + text[at:]


def _delete(dice: random.Random, text: str) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + text[at + dice.choice((1, 1, 2, 20)) :]


def _replace(dice: random.Random, text: str) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + dice.choice(SIGNS) + text[at + 1 :]


def _repeat(dice: random.Random, text: str) -> str:
    first, last = sorted(dice.randrange(len(text) + 1) for _ in range(2))
    return text[:last] + text[first:last] * dice.choice((1, 2, 30)) + text[last:]


def _cut(dice: random.Random, text: str) -> str:
    return text[: dice.randrange(len(text) + 1)]


_ON_ROWS = (_change_code, _take_code, _add_row, _drop_row, _add_cell, _drop_cell, _rename, _quote)
_ON_TEXT = (_insert, _insert, _delete, _replace, _repeat, _cut)


def _mutate_bytes(dice: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 4, 16))):
        if changed:
            changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed[: dice.randrange(len(changed) + 1)] if dice.random() < 0.2 else changed)


def _pack(dice: random.Random, content: bytes) -> bytes:
    """Return an archive of the text, whole or damaged."""
    if dice.random() < BOMB:
        unit = dice.choice(("0", " ", "0,", "\n", "a,-1\n", "\U0001f600", '"')).encode()
        return gzip.compress(content, 1) + gzip.compress(unit * (1 << 18), 1) * dice.choice((700, 2500))
    if dice.random() < 0.5:
        packed = gzip.compress(content, 1)
    else:
        file = io.BytesIO()
        kind = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        with zipfile.ZipFile(file, "w", kind) as archive:
            for name in dice.choice((("a.csv",),) * 6 + ((), ("a.csv", "b.csv"), ("a",), ("../a.csv", "é"))):
                archive.writestr(name, content)
        packed = file.getvalue()
    return _mutate_bytes(dice, packed) if dice.random() < 0.5 else packed
