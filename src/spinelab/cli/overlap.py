"""Work in stages on many items, so that reading one overlaps computing another and writing a third."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, TypeVar

Item = TypeVar("Item")
Stage = Callable[[Any], Any]


def overlap(
    items: Iterable[Item], stages: Sequence[Stage], *, workers: Sequence[int] | None = None
) -> Iterator[tuple[Item, Callable[[], Any]]]:
    """Runs every item through all stages, each stage in threads of its own, and yields them in order.

    At most one item more than there are threads is under way, however many there are. A stage that raises
    ends its item there; the others go on.

    Args:
        items: What the first stage takes.
        stages: Each takes what the one before returned.
        workers: Threads of each stage; one each if not given.

    Yields:
        The item, and a function that returns what the last stage returned, or raises what a stage raised.

    Example:
        >>> [(item, done()) for item, done in overlap([1, 2], [lambda n: n + 1, str])]
        [(1, '2'), (2, '3')]
    """
    workers = workers or [1] * len(stages)
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(count)) for count in workers]
        for pool in pools:
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        waiting: deque[tuple[Item, Future[Any]]] = deque()
        for item in items:
            waiting.append((item, _submit(item, stages, pools)))
            if len(waiting) > sum(workers):
                yield _take(waiting)
        while waiting:
            yield _take(waiting)


def _submit(item: Any, stages: Sequence[Stage], pools: Sequence[ThreadPoolExecutor]) -> Future[Any]:
    """Queues an item at every stage; each waits for what the one before makes of it."""
    before: Future[Any] = Future()
    before.set_result(item)
    for stage, pool in zip(stages, pools, strict=True):
        before = pool.submit(_follow, stage, before)
    return before


def _follow(stage: Stage, before: Future[Any]) -> Any:
    return stage(before.result())


def _take(waiting: deque[tuple[Item, Future[Any]]]) -> tuple[Item, Callable[[], Any]]:
    item, future = waiting.popleft()
    wait([future])
    return item, future.result
