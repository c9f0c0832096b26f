"""Jobs called at once, here: for the command line and for tests."""

from collections.abc import Sequence

from service.jobs.executor import Devices, ProcessExit, Task, cpu_only


class InlineExecutor:
    """Calls the job before `submit` returns; what it raises goes to the caller."""

    def __init__(self, devices: Devices = cpu_only) -> None:
        self._devices = devices

    def submit(self, task: Task) -> None:
        """Call it. A job that exits has ended with that code; this process goes on."""
        exit_code = 0
        try:
            task.function(*task.arguments)
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else 1
        task.on_exit(ProcessExit(exit_code, during_shutdown=False))

    def accepts_tasks(self) -> bool:
        """Always."""
        return True

    def devices(self) -> Sequence[str]:
        """Those of this process."""
        return self._devices()

    def has_task(self, name: str) -> bool:  # noqa: ARG002
        """Never: whoever could ask waits for the job's end."""
        return False

    def kill(self, name: str) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""

    def abort(self) -> None:
        """Nothing runs beside this process."""
