"""Where runs train. A new executor is a file here and a line in the table."""

from collections.abc import Callable, Sequence

from service.jobs.executor import Ending, Executor, Job
from service.jobs.inline import InlineExecutor
from service.jobs.processes import ProcessExecutor

EXECUTORS: dict[str, Callable[[int, Sequence[str]], Executor]] = {
    "processes": ProcessExecutor,
    "inline": lambda *_: InlineExecutor(),
}
"""Made of how many jobs run at once, and of the modules that these import."""

__all__ = ["EXECUTORS", "Ending", "Executor", "Job"]
