"""Tasks called synchronously in this process, for the command line and for tests."""

from collections.abc import Sequence

from service.jobs.executor import Devices, ProcessExit, Task, cpu_only


class InlineExecutor:
    """Calls the task within `submit`, which raises its exceptions."""

    def __init__(self, devices: Devices = cpu_only) -> None:
        self._devices = devices

    def submit(self, task: Task) -> None:
        """Call the task. SystemExit ends the task with that exit code, not this process."""
        exit_code = 0
        try:
            task.function(*task.arguments)
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else 1
        task.on_exit(ProcessExit(exit_code, during_shutdown=False))

    def accepts_tasks(self) -> bool:
        """True."""
        return True

    def devices(self) -> Sequence[str]:
        """Devices of this process."""
        return self._devices()

    def has_task(self, name: str) -> bool:  # noqa: ARG002
        """False: the caller of `submit` waits for the end of the task."""
        return False

    def has_started(self, name: str) -> bool:  # noqa: ARG002
        """False, as `has_task`."""
        return False

    def kill(self, name: str) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""

    def abort(self) -> None:
        """Nothing runs in another process."""
