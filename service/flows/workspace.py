"""What a flow needs to know of its surroundings: plain values, fit to be sent to a worker."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Where runs are kept, where datasets are, and how many runs share the machine."""

    database_url: str
    blobs: str
    data_dir: Path
    parallel_runs: int = 1
