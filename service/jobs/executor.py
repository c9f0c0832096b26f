"""What an executor does: calls functions somewhere, and says how the call ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class ProcessExit:
    """How a job's process ended: its exit code, negative for the signal that killed it."""

    exit_code: int
    during_shutdown: bool  # because the executor was closed
    out_of_memory: bool = False  # killed by the kernel, for want of memory


@dataclass(frozen=True)
class Task:
    """A call to make. Function and arguments are values that another process can be given."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]
    on_exit: Callable[[ProcessExit], None]  # called in this process, from any thread
    name: str = ""  # by which it is asked for
    should_start: Callable[[], bool] = lambda: (
        True
    )  # asked when its turn comes; if not, it is dropped


Devices = Callable[[], Sequence[str]]
"""Returns the devices that jobs can use now."""


def cpu_only() -> Sequence[str]:
    """The devices of an executor that was given none."""
    return ("cpu",)


class Executor(Protocol):
    """Takes jobs and runs them, some at once, the others in their order."""

    def submit(self, task: Task) -> None:
        """Take a job; returns before it is done, unless the executor is `inline`."""

    def accepts_tasks(self) -> bool:
        """Whether it still does."""

    def devices(self) -> Sequence[str]:
        """Devices that its jobs can use now: `cpu`, `cuda`."""

    def has_task(self, name: str) -> bool:
        """Whether a job of that name waits or runs here."""

    def kill(self, name: str) -> None:
        """Kill what runs under that name, even if it was stopped; its end is told as any other."""

    def close(self) -> None:
        """End what runs, within seconds, and take nothing more."""

    def abort(self) -> None:
        """Kill what runs, without waiting for anything: the process is about to exit."""
