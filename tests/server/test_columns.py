import pytest

from spinelab.errors import InputError
from spinelab.server.columns import VARIANTS, is_graded, match_variant, name_column


@pytest.mark.parametrize(
    ("variant", "column"),
    [
        ("usual", ("T11", "T12", "L1", "L2")),
        ("T13", ("T12", "T13", "L1", "L2")),
        ("T11 last", ("T10", "T11", "L1", "L2")),
        ("L6", ("T11", "T12", "L1", "L2")),
    ],
)
def test_the_column_follows_one_name(variant, column):
    assert name_column(4, place=2, name="L1", variant=variant) == column
    assert match_variant(column) in (variant, "usual")


def test_lumbar_variants_end_where_they_say():
    assert VARIANTS["L6"][-2:] == ("L5", "L6")
    assert VARIANTS["L4 last"][-1] == "L4"
    assert name_column(2, place=1, name="L6", variant="L6") == ("L5", "L6")
    assert match_variant(("L5", "L6")) == "L6"
    assert match_variant(("T3", "L4")) == "usual"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"place": 0, "name": "L1", "variant": "T14"}, "no numbering variant 'T14'"),
        ({"place": 0, "name": "L6"}, "no level 'L6' in the numbering 'usual'"),
        ({"place": 4, "name": "L1"}, "a place from 0 to 3 is wanted, found 4"),
        ({"place": 0, "name": "L4"}, "4 vertebrae with L4 at place 1 would run past C1 or L5"),
        ({"place": 2, "name": "C2"}, "4 vertebrae with C2 at place 3 would run past C1 or L5"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        name_column(4, **arguments)


def test_what_has_two_endplates():
    assert [name for name in ("C1", "C2", "C3", "T13", "L6", "S", "Co") if is_graded(name)] == [
        "C3",
        "T13",
        "L6",
    ]
