"""Statistics of a service, for its metrics: read in one short transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime

from service.store import epochs, jobs, runs
from service.store.run_status import RunSource, RunStatus
from service.store.store import Store


@dataclass(frozen=True)
class ServiceStats:
    """Counts, sizes in bytes, and seconds."""

    runs: dict[str, int]  # by status
    jobs: dict[str, int]  # by status
    epochs: int
    quarantined_epochs: int
    blob_bytes: int
    used_bytes: int
    free_bytes: int | None  # on the disk with the least free space
    oldest_heartbeat_seconds: float  # of runs in training; 0 without any


def read_service_stats(store: Store) -> ServiceStats:
    """Current statistics of the store."""
    with store.read_session() as session:
        epoch_count, quarantined_count, size = epochs.count_totals(session)
        heartbeat_times = [
            run.heartbeat_at
            for run in runs.list_by_status(session, RunStatus.RUNNING)
            if run.source is RunSource.TRAINED
        ]
        by_status = runs.count_by_status(session)
        jobs_by_status = jobs.count_by_status(session)
        used_bytes = store.quota.used_bytes(session)
    oldest_heartbeat = min((beat for beat in heartbeat_times if beat), default=None)
    age = (datetime.now(UTC) - oldest_heartbeat).total_seconds() if oldest_heartbeat else 0.0
    free_bytes = store.quota.free_bytes()
    return ServiceStats(
        by_status,
        jobs_by_status,
        epoch_count,
        quarantined_count,
        size,
        used_bytes,
        free_bytes,
        max(0.0, age),
    )
