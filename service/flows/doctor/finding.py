"""Findings of the doctor."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Severity of a finding."""

    WARNING = "warning"  # nothing is lost
    DAMAGE = "damage"  # something is lost or misleading


@dataclass(frozen=True)
class Finding:
    """A problem of the store. `repair`, if it is possible, takes a write session."""

    severity: Severity
    message: str
    run_id: int | None = None
    epoch: int | None = None
    repair: Callable[[Any], object] | None = None
