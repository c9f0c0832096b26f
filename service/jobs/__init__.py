"""Where runs train. A new executor is a file here and a line in the table."""

from collections.abc import Callable

from service.jobs.executor import Ending, Executor, Job
from service.jobs.inline import InlineExecutor
from service.jobs.processes import ProcessExecutor

EXECUTORS: dict[str, Callable[[int], Executor]] = {
    "processes": ProcessExecutor,
    "inline": lambda _: InlineExecutor(),
}

__all__ = ["EXECUTORS", "Ending", "Executor", "Job"]
