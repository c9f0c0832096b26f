"""Parallel map over small tasks: the calling thread works, and idle threads of a pool help."""

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
"""Results that are held or being computed ahead of the consumer."""


def parallel_map(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results in the items' order.

    All callers share the pool, which has about one thread per core. No caller waits for a thread
    that works for another: if none is idle, it computes alone. Raises what `work` raises; then no
    further item is started, and none is left running.
    """
    if len(items) == 1:
        yield work(items[0])
        return
    threads, idle = _threads()
    waiting = deque(items)
    pending: deque[Future[Result]] = deque()
    try:
        while waiting or pending:
            while waiting and len(pending) < MAX_AHEAD and idle.acquire(blocking=False):
                helped = threads.submit(copy_context().run, work, waiting.popleft())
                helped.add_done_callback(lambda _: idle.release())
                pending.append(helped)
            if pending and (pending[0].done() or not waiting or len(pending) >= MAX_AHEAD):
                yield pending.popleft().result()
            else:
                pending.append(_worked_on_here(work, waiting.popleft()))
    finally:
        wait(pending)


def _worked_on_here(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """The result, or the exception, of work in this thread."""
    future: Future[Result] = Future()
    try:
        with _one_torch_thread():
            future.set_result(work(item))
    except Exception as error:
        future.set_exception(error)
    return future


def use_torch_threads(count: int) -> None:
    """Set the number of threads that torch uses for operations of the calling thread.

    Threads that never call this start with the value that was set last.
    """
    torch.get_num_threads()  # otherwise the first operation sets the default
    torch.set_num_threads(count)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """One thread for torch's operations: on busy cores, threads that share an operation of a
    millisecond wait for each other longer than they work.
    """
    thread_count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(thread_count)


@cache
def _threads() -> tuple[ThreadPoolExecutor, threading.Semaphore]:
    """The pool, and a semaphore of its idle threads; torch uses one thread in each of them."""
    count = min(DEFAULT_THREADS - 1, MAX_HELPER_THREADS)
    threads = ThreadPoolExecutor(max(1, count), "parallel")
    if count:
        together = threading.Barrier(count)

        def begin() -> None:
            together.wait()  # so that each thread takes one
            use_torch_threads(1)

        callers = torch.get_num_threads()
        wait([threads.submit(begin) for _ in range(count)])
        # The setting is per thread, but new threads start with the value that was set last.
        torch.set_num_threads(callers)
    return threads, threading.Semaphore(count)
