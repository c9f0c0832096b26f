"""Background tasks: an exception delays them and never ends them, and they say how they are."""

import threading
from collections.abc import Callable, Iterator

import pytest

from service import background
from service.background import BackgroundTask, BackgroundTasks
from service.errors import StoreBusy

SECONDS = 30.0  # what a slow machine may take


class Passes:
    """Raises each of `errors` in turn, then succeeds; counts calls."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.succeeded = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.succeeded.set()


@pytest.fixture
def started() -> Iterator[Callable[..., BackgroundTask]]:
    tasks = BackgroundTasks()
    tasks.start()

    def start(function: Callable[[], object], **options: float) -> BackgroundTask:
        options = {"interval_seconds": 0.001, "max_backoff_seconds": 0.002} | options
        return tasks.add(BackgroundTask("test", function, **options))

    yield start
    tasks.request_stop()
    assert tasks.join(SECONDS)


@pytest.mark.parametrize(
    "error",
    [StoreBusy("locked"), RuntimeError("a bug"), MemoryError(), SystemExit(3), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_a_task_goes_on_after_any_exception(started, error, capsys) -> None:
    passes = Passes(error, error)
    task = started(passes)
    assert passes.succeeded.wait(SECONDS)
    assert passes.calls >= 3
    assert task.problem() is None


def test_a_task_goes_on_where_its_log_cannot_be_written(started, monkeypatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(background.log, "warning", closed, raising=False)
    passes = Passes(RuntimeError("a bug"))
    started(passes)
    assert passes.succeeded.wait(SECONDS)


def test_the_delay_doubles_up_to_its_limit_and_is_the_interval_after_a_success() -> None:
    passes = Passes(*[StoreBusy("locked")] * 5)
    task = BackgroundTask("test", passes, interval_seconds=1, max_backoff_seconds=10)
    assert [task._call() for _ in range(6)] == [2, 4, 8, 10, 10, 1]


def test_a_delay_is_never_shorter_than_the_interval() -> None:
    task = BackgroundTask(
        "test", Passes(StoreBusy("locked")), interval_seconds=20, max_backoff_seconds=10
    )
    assert task._call() == 20


def test_a_task_that_keeps_failing_is_a_problem_until_it_succeeds(started) -> None:
    failing = threading.Event()
    failing.set()
    succeeded = threading.Event()

    def fail_for_a_while() -> None:
        if failing.is_set():
            raise StoreBusy("locked")
        succeeded.set()

    task = started(fail_for_a_while, stale_seconds=0.0)
    while task.seconds_since_success() < 0.1:
        threading.Event().wait(0.01)
    assert "test has not succeeded" in (task.problem() or "")
    failing.clear()
    assert succeeded.wait(SECONDS)


def test_a_task_whose_thread_does_not_run_is_a_problem() -> None:
    tasks = BackgroundTasks()
    tasks.add(BackgroundTask("test", Passes(), interval_seconds=60))
    assert tasks.problems() == ["The background task test does not run."]


def test_a_task_that_is_woken_does_not_wait_for_its_interval(started) -> None:
    passes = Passes()
    started(passes, interval_seconds=3600).wake()
    assert passes.succeeded.wait(SECONDS)


def test_a_task_may_stop_itself(started) -> None:
    passes = Passes()

    def once() -> None:
        passes()
        task.request_stop()

    task = started(once, interval_seconds=0.05)
    assert passes.succeeded.wait(SECONDS)
    assert task.join(SECONDS)
    assert (passes.calls, task.problem()) == (1, None)
