"""What tells how a service fares: counted when it is asked for, in one short transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime

from service.background import BackgroundTasks
from service.errors import CamreelError
from service.jobs import Executor
from service.store import epochs, jobs, readiness, runs, schema
from service.store.store import Store


@dataclass(frozen=True)
class Vitals:
    """Counts, bytes, and seconds."""

    runs: dict[str, int]  # by status
    jobs: dict[str, int]  # by status
    epochs: int
    quarantined: int
    blob_bytes: int
    used_bytes: int
    free_bytes: int | None  # of the fullest disk
    oldest_heartbeat_seconds: float  # of running runs; 0 where none runs


def vitals(store: Store) -> Vitals:
    """Of the store as it is now."""
    with store.reading() as session:
        total, quarantined, size = epochs.count(session)
        beats = [run.heartbeat_at for run in runs.with_status(session, runs.RUNNING)]
        by_status = runs.count_by_status(session)
        jobs_by_status = jobs.count_by_status(session)
        used = store.room.used_bytes(session)
    oldest = min((beat for beat in beats if beat), default=None)
    age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    free = store.room.free_bytes()
    return Vitals(by_status, jobs_by_status, total, quarantined, size, used, free, max(0.0, age))


def reasons_not_ready(store: Store, executor: Executor, background: BackgroundTasks) -> list[str]:
    """Why the service cannot work now, in sentences without paths; empty where it can."""
    reasons = []
    try:
        schema.ensure(store)
        readiness.check_writes(store.engine)
        with store.reading() as session:
            store.room.check(session)
    except (CamreelError, OSError) as error:
        told = str(error) if isinstance(error, CamreelError) else "The disk cannot be read."
        reasons.append(told)
    if not executor.takes_jobs():
        reasons.append("The executor takes no runs any more.")
    return reasons + background.problems()
