"""Names for a whole column from one of them: shifting the count, with or without a numbering variant."""

from collections.abc import Sequence

from spinelab.anatomy import BY_NAME, LEVELS
from spinelab.errors import InputError

_USUAL = tuple(lv.name for lv in LEVELS if lv.region != "sacral" and lv.name not in ("T13", "L6"))
#: Numbering variants and the names from the skull down under each.
VARIANTS: dict[str, tuple[str, ...]] = {
    "usual": _USUAL,
    "T13": tuple(lv.name for lv in LEVELS if lv.region != "sacral" and lv.name != "L6"),
    "L6": tuple(lv.name for lv in LEVELS if lv.region != "sacral" and lv.name != "T13"),
    "T11 last": tuple(name for name in _USUAL if name != "T12"),
    "L4 last": tuple(name for name in _USUAL if name != "L5"),
}


def name_column(count: int, *, place: int, name: str, variant: str = "usual") -> tuple[str, ...]:
    """Returns the names of neighbouring vertebrae of which one is known.

    Args:
        count: How many vertebrae the column has, from the head down.
        place: Which of them is known, from 0.
        name: Its level.
        variant: A key of `VARIANTS`.

    Raises:
        InputError: No such variant or level, or the column would run past C1 or the last lumbar vertebra.

    Example:
        >>> name_column(3, place=1, name="L1")
        ('T12', 'L1', 'L2')
        >>> name_column(3, place=2, name="L1", variant="T13")
        ('T12', 'T13', 'L1')
    """
    names = VARIANTS.get(variant)
    if names is None:
        raise InputError(f"no numbering variant {variant!r}; there are {', '.join(VARIANTS)}")
    if name not in names:
        raise InputError(f"no level {name!r} in the numbering {variant!r}; levels run from C1 to {names[-1]}")
    if not 0 <= place < count:
        raise InputError(f"a place from 0 to {count - 1} is wanted, found {place}")
    start = names.index(name) - place
    if start < 0 or start + count > len(names):
        raise InputError(
            f"{count} vertebrae with {name} at place {place + 1} would run past {names[0]} or {names[-1]}; "
            "choose another level or variant"
        )
    return names[start : start + count]


def is_graded(name: str) -> bool:
    """Tells whether a level has the body and two endplates that Genant's grades need.

    Example:
        >>> is_graded("T7"), is_graded("C2"), is_graded("S")
        (True, False, False)
    """
    return BY_NAME[name].region != "sacral" and name not in ("C1", "C2")


def match_variant(names: Sequence[str]) -> str:
    """Returns the variant under which names follow one another without a gap; "usual" if none does."""
    for variant, order in VARIANTS.items():
        if names and names[0] in order:
            start = order.index(names[0])
            if tuple(names) == order[start : start + len(names)]:
                return variant
    return "usual"
