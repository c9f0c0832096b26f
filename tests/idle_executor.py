"""An executor for tests that need runs to wait."""

from service.jobs import Task


class IdleExecutor:
    """An executor that takes jobs, and trains none: what was queued stays so."""

    def __init__(self) -> None:
        self.jobs: list[Task] = []

    def submit(self, job: Task) -> None:
        self.jobs.append(job)

    def accepts_tasks(self) -> bool:
        return True

    def has_task(self, name: str) -> bool:
        return any(job.name == name for job in self.jobs)

    def kill(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass
