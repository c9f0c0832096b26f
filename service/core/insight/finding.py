"""Findings: what a rule says about a run, as codes and numbers.

Sentences belong to the API and the report, which know the reader's language.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Evidence", "Finding", "Region", "Severity", "Unavailable"]


class Severity(StrEnum):
    """How much a finding matters, most severe first."""

    CHANGES_PREDICTIONS = "changes-predictions"
    EVIDENCE_ONLY = "evidence-only"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Evidence:
    """A measured number that a rule compared with its threshold.

    `name` is a code, for example `exchange_share`; `n` counts what was measured: images, epochs
    or steps.
    """

    name: str
    value: float
    threshold: float | None
    n: int


@dataclass(frozen=True)
class Region:
    """A rectangle of the image, in pixels, and the share of the evidence that lies in it."""

    top: int
    left: int
    height: int
    width: int
    share: float


@dataclass(frozen=True)
class Finding:
    """One statement about a run.

    `kind` is the code of its rule, `attribute` what the finding is about (an exchange operator, a
    cause, a layer), empty where the kind says it all. `epochs` are the first and last epoch that it
    holds for, `images` the references of the images that show it.
    """

    kind: str
    severity: Severity
    evidence: tuple[Evidence, ...]
    class_indices: tuple[int, ...] = ()
    epochs: tuple[int, int] | None = None
    region: Region | None = None
    attribute: str = ""
    images: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Hash of kind, classes and attribute: 12 hexadecimal digits, equal if measured again."""
        identity = json.dumps([self.kind, list(self.class_indices), self.attribute])
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Unavailable:
    """A kind of finding that could not be examined, and the code of the reason."""

    kind: str
    reason: str
