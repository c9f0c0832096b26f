"""What the doctor finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"  # nothing is lost
    DAMAGE = "damage"  # something is lost, or will mislead


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `mend` takes a session of a transaction that writes."""

    severity: Severity
    message: str
    run_id: int | None = None
    epoch: int | None = None
    repair: Callable[[Any], object] | None = None
