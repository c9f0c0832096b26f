"""Locations and limits that flows share: plain values that can be sent to a worker process."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from service.flows.image_folders import DEFAULT_LIMITS, FolderLimits
from service.store.storage_quota import StorageLimits
from service.store.store import NO_LIMITS


@dataclass(frozen=True)
class Workspace:
    """The store, the datasets, and the limits of runs.

    A worker without a heartbeat for `lease_seconds` is lost, a recorder for `recorder_seconds`. A
    run fails after losing `max_attempts` workers.
    """

    database: Path | str  # a SQLite file, or a SQLAlchemy URL
    blobs: str
    data_dir: Path
    _: KW_ONLY
    lease_seconds: float = 30.0
    max_attempts: int = 3
    recorder_seconds: float = 90.0
    bounds: StorageLimits = NO_LIMITS
    folder_limits: FolderLimits = DEFAULT_LIMITS
