"""Work spread over threads."""

import threading

import pytest

from spinelab.simulate.threads import map_in_threads


def test_results_come_in_the_order_of_the_items():
    assert map_in_threads(lambda x: x * x, range(9)) == [x * x for x in range(9)]
    assert map_in_threads(lambda x: x, []) == []


def test_two_items_are_worked_on_at_once_and_one_thread_is_the_callers_own():
    both = threading.Barrier(2, timeout=20)
    assert len(map_in_threads(lambda _: both.wait(), range(2), threads=2)) == 2
    names = map_in_threads(lambda _: threading.current_thread().name, range(3), threads=1)
    assert set(names) == {threading.current_thread().name}


def test_errors_reach_the_caller():
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda x: 1 / x, (1, 0))
