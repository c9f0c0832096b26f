"""Many small pieces of work at once: the caller works, and idle threads help it."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

import torch

from service.core.environment import DEFAULT_THREADS

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_HELPER_THREADS = 7
MAX_AHEAD = 16
"""Results that are kept, or being made, before the earlier ones are taken."""


def parallel_map(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results in the items' order.

    The helping threads are shared by all callers, so that together they take about the cores there
    are. No caller waits for a thread that works for another: where none is idle, it goes on alone.
    Raises what `work` raises; then nothing further is begun, and nothing is left running.
    """
    if len(items) == 1:
        yield work(items[0])
        return
    threads, idle = _threads()
    waiting = deque(items)
    begun: deque[Future[Result]] = deque()
    try:
        while waiting or begun:
            while waiting and len(begun) < MAX_AHEAD and idle.acquire(blocking=False):
                helped = threads.submit(copy_context().run, work, waiting.popleft())
                helped.add_done_callback(lambda _: idle.release())
                begun.append(helped)
            if begun and (begun[0].done() or not waiting or len(begun) >= MAX_AHEAD):
                yield begun.popleft().result()
            else:
                begun.append(_worked_on_here(work, waiting.popleft()))
    finally:
        wait(begun)


def _worked_on_here(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """The result, or the exception, of work done in this thread."""
    future: Future[Result] = Future()
    try:
        with _one_torch_thread():
            future.set_result(work(item))
    except Exception as error:
        future.set_exception(error)
    return future


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Two threads of torch's that share an operation of a millisecond wait for each other longer
    than they work, as soon as the cores are busy.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _threads() -> tuple[ThreadPoolExecutor, threading.Semaphore]:
    """The threads that help, and how many of them are idle; in each of them torch takes one."""
    count = min(DEFAULT_THREADS - 1, MAX_HELPER_THREADS)
    threads = ThreadPoolExecutor(max(1, count), "parallel")
    if count:
        together = threading.Barrier(count)

        def begin() -> None:
            together.wait()  # so that each thread takes one
            torch.get_num_threads()  # without it the thread's first operation would set the default
            torch.set_num_threads(1)

        callers = torch.get_num_threads()
        wait([threads.submit(begin) for _ in range(count)])
        # The number is a thread's own, but new threads begin with the one that was set last.
        torch.set_num_threads(callers)
    return threads, threading.Semaphore(count)
