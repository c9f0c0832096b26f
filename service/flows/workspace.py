"""What a flow needs to know of its surroundings: plain values, fit to be sent to a worker."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from service.store.storage_quota import StorageLimits
from service.store.store import NO_LIMITS


@dataclass(frozen=True)
class Workspace:
    """Where runs are kept, and where datasets are.

    A worker that was not heard of for `lease_seconds` is lost; a run that lost `max_attempts`
    workers has failed.
    """

    database: Path | str  # a SQLite file, or a SQLAlchemy URL
    blobs: str
    data_dir: Path
    _: KW_ONLY
    lease_seconds: float = 30.0
    max_attempts: int = 3
    bounds: StorageLimits = NO_LIMITS
