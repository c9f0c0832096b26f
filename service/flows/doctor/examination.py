"""An examination: all checks, and what was mended."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import StoreDamaged
from service.flows.doctor.checks import CHECKS
from service.flows.doctor.finding import Finding, Severity
from service.store.store import Store


@dataclass(frozen=True)
class CheckedFinding:
    """A finding, by which check, and whether it was mended."""

    check: str
    finding: Finding
    repaired: bool


@dataclass(frozen=True)
class Examination:
    """All that was found."""

    findings: list[CheckedFinding]

    @property
    def status(self) -> int:
        """0: clean; 1: warnings, or all that was damaged is mended; 2: damage is left."""
        has_damage = any(
            one.finding.severity is Severity.DAMAGE and not one.repaired for one in self.findings
        )
        return 2 if has_damage else min(1, len(self.findings))


def examine(store: Store, *, repair: bool = False, checks: Sequence[str] = ()) -> Examination:
    """Look at the store; with `repair`, do what can be done without inventing data.

    A bad checkpoint is quarantined, one that is whole again released; bytes without a row and rows
    without an epoch are dropped; counts are brought in step; lost runs end. Each is a transaction
    of its own. Nothing is mended from the moment that the database's file is found damaged.
    """
    checked_findings: list[CheckedFinding] = []
    for name in checks or CHECKS:
        findings, is_complete = _run_check(name, store)
        # What is written into a damaged file may damage more of it.
        repair = repair and is_complete
        for finding in findings:
            repair_finding = finding.repair if repair else None
            if repair_finding is not None:
                with store.write_session() as session:
                    repair_finding(session)
            checked_findings.append(CheckedFinding(name, finding, repair_finding is not None))
        if name == "schema" and any(
            one.finding.severity is Severity.DAMAGE for one in checked_findings
        ):
            break
    return Examination(checked_findings)


def _run_check(name: str, store: Store) -> tuple[list[Finding], bool]:
    """What a check found, and whether it could look through all."""
    findings = []
    try:
        # Not a comprehension: what was found before the damage is kept.
        for finding in CHECKS[name](store):
            findings.append(finding)  # noqa: PERF402
    except StoreDamaged:
        message = "not all could be read: the database's file is damaged; restore a backup"
        return [*findings, Finding(Severity.DAMAGE, message)], False
    return findings, True
