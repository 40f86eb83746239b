"""Vertebral levels: their order, numbers, names, codes and regions. The only label table.

On disk spinelab writes VerSe numbers: C1-C7 = 1-7, T1-T12 = 8-19, L1-L6 = 20-25, sacrum = 26,
coccyx = 27, T13 = 28; the disc below label X is 100 + X. Other schemes are tables here and are
converted by `spinelab.labels`.

SNOMED CT codes as in DICOM CID 7602/7603 and pydicom's concept dictionary.
"""

from dataclasses import dataclass
from typing import Literal

from spinelab.errors import LabelError

Region = Literal["cervical", "thoracic", "lumbar", "sacral"]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the column.

    Attributes:
        name: "C1" ... "L6", "T13", "S" (sacrum), "Co" (coccyx).
        label: VerSe number.
        region: cervical, thoracic, lumbar or sacral.
        snomed: SNOMED CT code of the vertebra (T13 and L6 have none: 51282000 "Vertebra").
        snomed_meaning: code meaning to write beside the code.
    """

    name: str
    label: int
    region: Region
    snomed: str
    snomed_meaning: str


_SNOMED = {
    "C": ["14806007", "39976000", "113205007", "5329002", "36978003", "36054005", "87391001"],
    "T": [
        "64864005",
        "53733008",
        "1626008",
        "73071006",
        "56401006",
        "45296009",
        "62487009",
        "11068009",
        "82687006",
        "7610001",
        "12989004",
        "23215003",
    ],
    "L": ["66794005", "14293000", "36470004", "11994002", "49668003"],
}
_WORDS: dict[str, Region] = {"C": "cervical", "T": "thoracic", "L": "lumbar"}
_ORDINALS = [
    "First",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]


def _levels() -> tuple[Level, ...]:
    levels: list[Level] = []
    label = 0
    for letter, codes in _SNOMED.items():
        region = _WORDS[letter]
        for number, code in enumerate(codes, start=1):
            label += 1
            meaning = f"{_ORDINALS[number - 1].capitalize()} {region} vertebra"
            levels.append(Level(f"{letter}{number}", label, region, code, meaning))
        if letter == "T":
            levels.append(Level("T13", 28, "thoracic", "51282000", "Vertebra"))
    levels.append(Level("L6", 25, "lumbar", "51282000", "Vertebra"))
    levels.append(Level("S", 26, "sacral", "54735007", "Sacrum"))
    levels.append(Level("Co", 27, "sacral", "64688005", "Coccyx"))
    return tuple(levels)


#: All levels from the skull down, with T13 between T12 and L1 and L6 between L5 and the sacrum.
LEVELS: tuple[Level, ...] = _levels()
BY_NAME: dict[str, Level] = {level.name: level for level in LEVELS}
BY_LABEL: dict[int, Level] = {level.label: level for level in LEVELS}
#: Position from the skull down, the order every list of vertebrae follows.
ORDER: dict[str, int] = {level.name: index for index, level in enumerate(LEVELS)}
#: The vertebrae proper (no sacrum, no coccyx), VerSe numbers.
VERTEBRA_LABELS: tuple[int, ...] = tuple(lv.label for lv in LEVELS if lv.region != "sacral")


def level(name_or_label: str | int) -> Level:
    """Returns the level of a name ("T7") or a VerSe number (14).

    Raises:
        LabelError: There is no such level.

    Example:
        >>> level("T7").label, level(28).name
        (14, 'T13')
    """
    found = BY_LABEL.get(name_or_label) if isinstance(name_or_label, int) else BY_NAME.get(name_or_label)
    if found is None:
        raise LabelError(
            f"no vertebral level {name_or_label!r}; levels are C1-C7, T1-T13, L1-L6, S and Co, "
            "or VerSe numbers 1-28"
        )
    return found


def levels_between(first: str, last: str) -> tuple[str, ...]:
    """Returns the usual level names from `first` down to `last`, both included.

    T13 and L6 appear only when they are one of the ends.

    Example:
        >>> levels_between("T11", "L2")
        ('T11', 'T12', 'L1', 'L2')
    """
    start, stop = ORDER[level(first).name], ORDER[level(last).name]
    return tuple(
        lv.name
        for index, lv in enumerate(LEVELS)
        if start <= index <= stop and (lv.name not in {"T13", "L6"} or lv.name in {first, last})
    )
