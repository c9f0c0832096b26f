"""An executor for tests that need runs to wait."""

from service.jobs import Job


class IdleExecutor:
    """An executor that takes jobs, and trains none: what was queued stays so."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def takes_jobs(self) -> bool:
        return True

    def has(self, name: str) -> bool:
        return any(job.name == name for job in self.jobs)

    def kill(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass
