"""An examination of the store: all checks, and optionally all repairs."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.flows.doctor.checks import CHECKS
from service.flows.doctor.finding import Finding, Severity
from service.store.store import Store
from service.store_errors import StoreDamaged


@dataclass(frozen=True)
class CheckedFinding:
    """A finding, the name of its check, and whether it has been repaired."""

    check: str
    finding: Finding
    repaired: bool


@dataclass(frozen=True)
class Examination:
    """All findings of an examination."""

    findings: list[CheckedFinding]

    @property
    def status(self) -> int:
        """0: no findings; 1: only warnings and repaired damage; 2: unrepaired damage."""
        has_damage = any(
            checked.finding.severity is Severity.DAMAGE and not checked.repaired
            for checked in self.findings
        )
        return 2 if has_damage else min(1, len(self.findings))


def examine(store: Store, *, repair: bool = False, checks: Sequence[str] = ()) -> Examination:
    """Check the store; with `repair`, repair what is possible without inventing data.

    Repairs quarantine damaged checkpoints, release intact ones, delete blobs without a row and rows
    without an epoch, correct counts, and requeue lost runs, each in its own transaction. Repairs
    stop as soon as a check finds the database file damaged.
    """
    checked_findings: list[CheckedFinding] = []
    for name in checks or CHECKS:
        findings, is_complete = _run_check(name, store)
        # Writing to a damaged file may damage it further.
        repair = repair and is_complete
        for finding in findings:
            repair_finding = finding.repair if repair else None
            if repair_finding is not None:
                with store.write_session() as session:
                    repair_finding(session)
            checked_findings.append(CheckedFinding(name, finding, repair_finding is not None))
        if name == "schema" and any(
            checked.finding.severity is Severity.DAMAGE for checked in checked_findings
        ):
            break
    return Examination(checked_findings)


def _run_check(name: str, store: Store) -> tuple[list[Finding], bool]:
    """The findings of a check, and whether it could read everything."""
    findings = []
    try:
        # Not a comprehension: findings before an error are kept.
        for finding in CHECKS[name](store):
            findings.append(finding)  # noqa: PERF402
    except StoreDamaged:
        message = "the database file is damaged and cannot be read completely; restore a backup"
        return [*findings, Finding(Severity.DAMAGE, message)], False
    return findings, True
