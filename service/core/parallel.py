"""Many small pieces of work at once, in threads that take one core each."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from typing import TypeVar

import torch

from service.core.environment import DEFAULT_THREADS

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_THREADS = 8
AHEAD = 2
"""Pieces begun for each thread before the earlier results are taken."""


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results in the items' order. A single item is worked on by the caller.

    The threads are shared by all callers, so that they never take more than the cores there are.
    Raises what `work` raises; then nothing further is begun, and nothing is left running.
    """
    if len(items) == 1:
        yield work(items[0])
        return
    threads, count = _threads()
    waiting = iter(items)
    begun: deque[Future[Result]] = deque()
    try:
        while True:
            for item in waiting:
                begun.append(threads.submit(copy_context().run, work, item))
                if len(begun) >= count * AHEAD:
                    break
            if not begun:
                return
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
        wait(begun)


@cache
def _threads() -> tuple[ThreadPoolExecutor, int]:
    """The threads and their number.

    In each of them torch takes one thread: two that share an operation of a millisecond wait for
    each other longer than they work as soon as the cores are busy.
    """
    count = min(DEFAULT_THREADS, MAX_THREADS)
    threads = ThreadPoolExecutor(count, "parallel")
    together = threading.Barrier(count)

    def begin() -> None:
        together.wait()  # so that each thread takes one
        torch.get_num_threads()  # without it the thread's first operation would set the default
        torch.set_num_threads(1)

    callers = torch.get_num_threads()
    wait([threads.submit(begin) for _ in range(count)])
    # The number is a thread's own, but new threads begin with the one that was set last.
    torch.set_num_threads(callers)
    return threads, count
