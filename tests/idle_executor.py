"""An executor for tests that need runs to stay queued."""

from service.jobs import Task


class IdleExecutor:
    """Accepts tasks and never runs them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def accepts_tasks(self) -> bool:
        return True

    def has_task(self, name: str) -> bool:
        return any(task.name == name for task in self.tasks)

    def has_started(self, name: str) -> bool:
        return False

    def kill(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass
