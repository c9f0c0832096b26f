"""An executor for tests that need runs to stay queued."""

from service.jobs import Task


class IdleExecutor:
    """Accepts jobs and never runs them."""

    def __init__(self) -> None:
        self.jobs: list[Task] = []

    def submit(self, job: Task) -> None:
        self.jobs.append(job)

    def accepts_tasks(self) -> bool:
        return True

    def has_task(self, name: str) -> bool:
        return any(job.name == name for job in self.jobs)

    def has_started(self, name: str) -> bool:
        return False

    def kill(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass
