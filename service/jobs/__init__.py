"""Where runs train. A new executor is a file here and a line in the table."""

from collections.abc import Callable

from service.jobs.executor import Executor, ProcessExit, Task, cpu_only
from service.jobs.inline import InlineExecutor
from service.jobs.processes import ProcessExecutor

EXECUTORS: dict[str, Callable[..., Executor]] = {
    "processes": ProcessExecutor,
    "inline": lambda _parallel, _preload=(), devices=cpu_only: InlineExecutor(devices),
}
"""Made of how many jobs run at once, of the modules that these import, and of a function that
returns this machine's devices; an executor whose jobs run elsewhere asks there instead."""

__all__ = ["EXECUTORS", "Executor", "ProcessExit", "Task"]
