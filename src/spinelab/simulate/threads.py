"""Work spread over threads: NumPy and SciPy release the lock while they work on arrays."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Threads a deformation is computed with.
THREADS = 2
Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int = THREADS
) -> list[Result]:
    """Returns what a function gives for each item, in their order.

    Args:
        function: Takes one item.
        items: In any number.
        threads: How many are worked on at a time.
    """
    waiting = list(items)
    if threads < 2 or len(waiting) < 2:
        return [function(item) for item in waiting]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, waiting))
