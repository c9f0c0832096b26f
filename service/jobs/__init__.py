"""Executors: where runs train. A new executor is a file here and a line in the table."""

from collections.abc import Callable

from service.jobs.executor import Executor, ProcessExit, Task, cpu_only
from service.jobs.inline import InlineExecutor
from service.jobs.processes import ProcessExecutor

EXECUTORS: dict[str, Callable[..., Executor]] = {
    "processes": ProcessExecutor,
    "inline": lambda _parallel, _preload=(), devices=cpu_only: InlineExecutor(devices),
}
"""Factories of executors by name. Arguments: the number of parallel tasks, modules to preload, and
a function that returns the devices of this machine. A remote executor finds its devices itself.
"""

__all__ = ["EXECUTORS", "Executor", "ProcessExit", "Task"]
