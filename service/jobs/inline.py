"""Jobs called at once, here: for the command line and for tests."""

from service.jobs.executor import Ending, Job


class InlineExecutor:
    """Calls the job before `submit` returns; what it raises goes to the caller."""

    def submit(self, job: Job) -> None:
        """Call it."""
        job.function(*job.arguments)
        job.ended(Ending(0, stopped_by_us=False))

    def takes_jobs(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Nothing runs."""
