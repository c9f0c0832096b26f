"""Background tasks: exceptions delay but never end them, and problems are reported."""

import threading
from collections.abc import Callable, Iterator

import pytest

from service import background
from service.background import BackgroundTask, BackgroundTasks
from service.store_errors import StoreBusy

SECONDS = 30.0  # enough for a slow machine


class FailingFunction:
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
def start_task() -> Iterator[Callable[..., BackgroundTask]]:
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
def test_task_continues_after_any_exception(start_task, error, capsys) -> None:
    function = FailingFunction(error, error)
    task = start_task(function)
    assert function.succeeded.wait(SECONDS)
    assert function.calls >= 3
    assert task.problem() is None


def test_task_continues_if_its_log_cannot_be_written(start_task, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(background.log, "warning", fail, raising=False)
    function = FailingFunction(RuntimeError("a bug"))
    start_task(function)
    assert function.succeeded.wait(SECONDS)


def test_delay_doubles_up_to_its_limit_and_resets_after_a_success() -> None:
    function = FailingFunction(*[StoreBusy("locked")] * 5)
    task = BackgroundTask("test", function, interval_seconds=1, max_backoff_seconds=10)
    assert [task._call() for _ in range(6)] == [2, 4, 8, 10, 10, 1]


def test_delay_is_never_shorter_than_the_interval() -> None:
    task = BackgroundTask(
        "test", FailingFunction(StoreBusy("locked")), interval_seconds=20, max_backoff_seconds=10
    )
    assert task._call() == 20


def test_failing_task_is_a_problem_until_it_succeeds(start_task) -> None:
    failing = threading.Event()
    failing.set()
    succeeded = threading.Event()

    def fail_for_a_while() -> None:
        if failing.is_set():
            raise StoreBusy("locked")
        succeeded.set()

    task = start_task(fail_for_a_while, stale_seconds=0.0)
    while task.seconds_since_success() < 0.1:
        threading.Event().wait(0.01)
    assert "test has not succeeded" in (task.problem() or "")
    failing.clear()
    assert succeeded.wait(SECONDS)


def test_task_whose_thread_does_not_run_is_a_problem() -> None:
    tasks = BackgroundTasks()
    tasks.add(BackgroundTask("test", FailingFunction(), interval_seconds=60))
    assert tasks.problems() == ["The background task test does not run."]


def test_woken_task_does_not_wait_for_its_interval(start_task) -> None:
    function = FailingFunction()
    start_task(function, interval_seconds=3600).wake()
    assert function.succeeded.wait(SECONDS)


def test_task_can_stop_itself(start_task) -> None:
    function = FailingFunction()

    def call_and_stop() -> None:
        function()
        task.request_stop()

    task = start_task(call_and_stop, interval_seconds=0.05)
    assert function.succeeded.wait(SECONDS)
    assert task.join(SECONDS)
    assert (function.calls, task.problem()) == (1, None)
