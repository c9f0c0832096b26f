"""Work in parallel: in order, in the caller's context, and over when the caller is."""

import threading
import time

import pytest
import torch

from service.core import cancellation, parallel
from service.core.parallel import parallel_map
from service.errors import RequestCancelled


def test_results_come_in_the_items_order():
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(parallel_map(slow_first, range(50))) == [item * item for item in range(50)]
    assert list(parallel_map(slow_first, [])) == []


def test_a_single_item_is_worked_on_by_the_caller():
    assert list(parallel_map(lambda _: threading.get_ident(), [1])) == [threading.get_ident()]


def test_an_error_reaches_the_caller_and_nothing_further_is_begun():
    begun: list[int] = []

    def fail_at_3(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="3"):
        list(parallel_map(fail_at_3, range(1000)))
    result = list(begun)
    assert len(result) < 100
    time.sleep(0.05)
    assert begun == result


def test_work_that_nobody_waits_for_ends():
    def checked(item: int) -> int:
        cancellation.raise_if_cancelled()
        return item

    with (
        cancellation.cancellable(lambda: False),
        pytest.raises(RequestCancelled),
    ):
        list(parallel_map(checked, range(10)))


def test_no_caller_waits_for_what_works_for_another():
    """Every helping thread is at work for a caller that stands still."""
    blocked, release = threading.Event(), threading.Event()

    def stand_still(_: int) -> None:
        blocked.set()
        assert release.wait(30)

    callers = [
        threading.Thread(target=lambda: list(parallel_map(stand_still, range(50))))
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
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_torch_takes_one_thread_in_each_and_as_many_as_before_elsewhere(monkeypatch):
    threads, count = parallel._threads.__wrapped__()
    monkeypatch.setattr(parallel, "_threads", lambda: (threads, count))
    assert set(parallel_map(lambda _: torch.get_num_threads(), range(20))) == {1}
    assert torch.get_num_threads() == 3
    elsewhere: list[int] = []
    thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert elsewhere == [3]
    threads.shutdown()
