"""Stages that overlap: order, errors, and how much is under way."""

import threading
import time

import pytest

from spinelab.cli.overlap import overlap


def test_results_come_in_order_whatever_they_take():
    def slow_first(n):
        time.sleep(0.05 if n == 0 else 0)
        return n * 10

    found = [(item, done()) for item, done in overlap(range(5), [slow_first, str])]
    assert found == [(0, "0"), (1, "10"), (2, "20"), (3, "30"), (4, "40")]


def test_an_item_that_fails_ends_where_it_failed_and_the_others_go_on():
    later = []

    def fail(n):
        if n == 1:
            raise ValueError("broken")
        return n

    results = dict(overlap([0, 1, 2], [fail, lambda n: later.append(n) or n]))
    assert (results[0](), results[2]()) == (0, 2)
    with pytest.raises(ValueError, match="broken"):
        results[1]()
    assert later == [0, 2]


def test_one_is_read_while_another_is_computed():
    together = threading.Barrier(2, timeout=20)

    def read(n):
        if n == 1:
            together.wait()
        return n

    def compute(n):
        if n == 0:
            together.wait()  # passes only while the next is being read
        return n

    assert [done() for _, done in overlap([0, 1], [read, compute])] == [0, 1]


def test_few_are_under_way_however_many_there_are():
    begun, taken = [], []
    for item, done in overlap(range(20), [lambda n: begun.append(n) or n, lambda n: n]):
        done()
        taken.append(item)
        assert len(begun) - len(taken) <= 2 + 1
    assert begun == taken == list(range(20))


def test_leaving_early_begins_nothing_more():
    begun = []
    for _, done in overlap(range(50), [lambda n: begun.append(n) or n, lambda n: n]):
        done()
        break
    assert len(begun) <= 4


def test_a_stage_with_two_workers_does_two_items_at_once_and_keeps_their_order():
    together = threading.Barrier(2, timeout=20)

    def meet(n):
        together.wait()
        return n

    found = [done() for _, done in overlap(range(4), [meet, lambda n: n], workers=(2, 1))]
    assert found == [0, 1, 2, 3]
