"""The port of an executor: calls functions somewhere, and reports how the process exited."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class ProcessExit:
    """How the process of a task exited. A negative exit code is the signal that killed it."""

    exit_code: int
    during_shutdown: bool  # the executor was closed
    out_of_memory: bool = False  # killed by the kernel's out-of-memory killer


@dataclass(frozen=True)
class Task:
    """A function call to execute. Function and arguments can be pickled."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]
    on_exit: Callable[[ProcessExit], None]  # called in this process, in any thread
    name: str = ""  # for `has_task` and `kill`
    should_start: Callable[[], bool] = lambda: True  # if False at its turn, it is dropped
    in_background: bool = False  # starts after all queued tasks that are not


Devices = Callable[[], Sequence[str]]
"""Returns the devices that tasks can use now."""


def cpu_only() -> Sequence[str]:
    """Devices of an executor without a `devices` argument."""
    return ("cpu",)


class Executor(Protocol):
    """Runs tasks in the order of submission, several at once; those in the background last."""

    def submit(self, task: Task) -> None:
        """Queue a task. Only the inline executor returns after the task has ended."""

    def accepts_tasks(self) -> bool:
        """Whether `submit` is possible: the executor is not closed."""

    def devices(self) -> Sequence[str]:
        """Devices that tasks can use now: `cpu`, `cuda`."""

    def has_task(self, name: str) -> bool:
        """Whether a task of that name is queued or running here."""

    def has_started(self, name: str) -> bool:
        """Whether a task of that name has left the queue here, and has not ended."""

    def kill(self, name: str) -> None:
        """Kill running tasks of that name, even if stopped by a signal. `on_exit` is called."""

    def close(self) -> None:
        """End running tasks within seconds, and accept no more."""

    def abort(self) -> None:
        """Kill running tasks without waiting: this process is about to exit."""
