"""An executor that only records its tasks; tests simulate the workers."""

from dataclasses import dataclass

from service.jobs import ProcessExit, Task
from service.store import run_lifecycle, runs
from service.store.run_lifecycle import Lease
from service.store.store import Store


@dataclass(eq=False)
class SubmittedTask:
    """A task, and the attempt of its run when it was submitted."""

    job: Task
    attempt: int

    @property
    def run_id(self) -> int:
        return self.job.arguments[1]

    @property
    def owner(self) -> str:
        return self.job.arguments[2]


class RecordingExecutor:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.waiting: list[SubmittedTask] = []
        self.running: list[SubmittedTask] = []
        self.killed: list[SubmittedTask] = []

    def submit(self, job: Task) -> None:
        with self.store.read_session() as session:
            attempt = runs.get(session, job.arguments[1]).attempt
        self.waiting.append(SubmittedTask(job, attempt))

    def accepts_tasks(self) -> bool:
        return True

    def has_task(self, name: str) -> bool:
        return any(submitted.job.name == name for submitted in (*self.waiting, *self.running))

    def has_started(self, name: str) -> bool:
        return any(submitted.job.name == name for submitted in self.running)

    def kill(self, name: str) -> None:
        killed = [submitted for submitted in self.running if submitted.job.name == name]
        self.killed += killed
        self.running = [submitted for submitted in self.running if submitted not in killed]

    def close(self) -> None:
        pass

    def take(self, submitted: SubmittedTask) -> Lease | None:
        """Simulates a worker that starts and tries to claim the run."""
        self.waiting.remove(submitted)
        with self.store.write_session() as session:
            lease = run_lifecycle.claim(session, submitted.run_id, submitted.owner)
        if lease is not None:
            self.running.append(submitted)
        return lease

    def end(
        self, submitted: SubmittedTask, exit_code: int, *, during_shutdown: bool = False
    ) -> None:
        """Simulates the exit of a worker, as reported by the executor's thread."""
        if submitted in self.running:
            self.running.remove(submitted)
        submitted.job.on_exit(ProcessExit(exit_code, during_shutdown))
