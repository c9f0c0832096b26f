"""parallel_map: order, errors, cancellation and threads."""

import threading
import time

import pytest
import torch

from service.core import cancellation, parallel
from service.core.parallel import parallel_map
from service.errors import RequestCancelled


def test_results_are_in_the_order_of_the_items():
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(parallel_map(slow_first, range(50))) == [item * item for item in range(50)]
    assert list(parallel_map(slow_first, [])) == []


def test_single_item_runs_in_the_calling_thread():
    assert list(parallel_map(lambda _: threading.get_ident(), [1])) == [threading.get_ident()]


def test_error_is_raised_in_the_caller_and_no_further_item_starts():
    started_items: list[int] = []

    def fail_at_3(item: int) -> int:
        started_items.append(item)
        if item == 3:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="3"):
        list(parallel_map(fail_at_3, range(1000)))
    items_at_error = list(started_items)
    assert len(items_at_error) < 100
    time.sleep(0.05)
    assert started_items == items_at_error


def test_cancelled_work_ends():
    def check_cancellation(item: int) -> int:
        cancellation.raise_if_cancelled()
        return item

    with (
        cancellation.cancellable(lambda: False),
        pytest.raises(RequestCancelled),
    ):
        list(parallel_map(check_cancellation, range(10)))


def test_caller_does_not_wait_for_threads_blocked_by_other_callers():
    """All helper threads are blocked by other callers."""
    blocked, release = threading.Event(), threading.Event()

    def block(_: int) -> None:
        blocked.set()
        assert release.wait(30)

    callers = [
        threading.Thread(target=lambda: list(parallel_map(block, range(50))))
        for _ in range(parallel.MAX_HELPER_THREADS + 1)
    ]
    try:
        for caller in callers:
            caller.start()
        assert blocked.wait(30)
        assert list(parallel_map(lambda item: item, range(100))) == list(range(100))
    finally:
        release.set()
        for caller in callers:
            caller.join()


@pytest.fixture
def three_threads():
    initial_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(initial_threads)


@pytest.mark.usefixtures("three_threads")
def test_torch_uses_one_thread_per_helper_and_all_threads_elsewhere(monkeypatch):
    threads, count = parallel._threads.__wrapped__()
    monkeypatch.setattr(parallel, "_threads", lambda: (threads, count))
    assert set(parallel_map(lambda _: torch.get_num_threads(), range(20))) == {1}
    assert torch.get_num_threads() == 3
    counts_in_new_thread: list[int] = []
    thread = threading.Thread(target=lambda: counts_in_new_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert counts_in_new_thread == [3]
    threads.shutdown()
