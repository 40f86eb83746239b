import pytest

from spinelab.server.agreement import cohen_kappa, fleiss_kappa


def test_cohen_of_a_table_counted_by_hand():
    # 20 both yes, 5 + 10 apart, 15 both no: observed 35/50, chance (25*30 + 25*20)/2500 = 0.5
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx((0.7 - 0.5) / 0.5)


def test_weights_forgive_what_is_near():
    # weights 0, 1, 4, 9; observed 1; expected: each pair of the margins, sum over cells / n
    first, second = [0, 1, 2, 3], [0, 1, 2, 2]
    # margins 1,1,1,1 and 1,1,2,0: expected = (0+1+4*2 + 1+0+1*2 + 4+1+0 + 9+4+1*2) / 4 = 32 / 4
    assert cohen_kappa(first, second, order=(0, 1, 2, 3)) == pytest.approx(1 - 1 / 8)
    assert cohen_kappa(first, second) < cohen_kappa(first, second, order=(0, 1, 2, 3))


def test_full_agreement_is_one_and_reversal_is_negative():
    assert cohen_kappa("ab", "ab") == 1
    assert cohen_kappa("ab", "ba") == -1


def test_nothing_to_tell_is_none():
    assert cohen_kappa([], []) is None
    assert cohen_kappa([0, 0], [0, 0]) is None
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([[0, 0], [0, 0]]) is None


def test_fleiss_of_three_raters_counted_by_hand():
    # P_i: 1, 1/3, 1 -> mean 7/9; shares 5/9 and 4/9 -> chance 41/81
    ratings = [["a", "a", "a"], ["a", "a", "b"], ["b", "b", "b"]]
    assert fleiss_kappa(ratings) == pytest.approx((7 / 9 - 41 / 81) / (1 - 41 / 81))


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="both readers rate the same things, found 1 and 2"):
        cohen_kappa([1], [1, 2])
    with pytest.raises(ValueError, match=r"equally many ratings, at least 2; found \[1\]"):
        fleiss_kappa([[1], [0]])
    with pytest.raises(ValueError, match=r"found \[2, 3\]"):
        fleiss_kappa([[1, 1], [0, 0, 0]])
