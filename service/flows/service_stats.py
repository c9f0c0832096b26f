"""What tells how a service fares: counted when it is asked for, in one short transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime

from service.store import epochs, jobs, runs
from service.store.run_status import RunStatus
from service.store.store import Store


@dataclass(frozen=True)
class ServiceStats:
    """Counts, bytes, and seconds."""

    runs: dict[str, int]  # by status
    jobs: dict[str, int]  # by status
    epochs: int
    quarantined: int
    blob_bytes: int
    used_bytes: int
    free_bytes: int | None  # of the fullest disk
    oldest_heartbeat_seconds: float  # of running runs; 0 where none runs


def read_service_stats(store: Store) -> ServiceStats:
    """Of the store as it is now."""
    with store.read_session() as session:
        total, quarantined, size = epochs.count(session)
        beats = [run.heartbeat_at for run in runs.list_by_status(session, RunStatus.RUNNING)]
        by_status = runs.count_by_status(session)
        jobs_by_status = jobs.count_by_status(session)
        used = store.quota.used_bytes(session)
    oldest = min((beat for beat in beats if beat), default=None)
    age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    free = store.quota.free_bytes()
    return ServiceStats(
        by_status, jobs_by_status, total, quarantined, size, used, free, max(0.0, age)
    )
