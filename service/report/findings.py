"""The findings of a run in its report."""

from contextlib import suppress
from dataclasses import dataclass

from service.errors import DatasetUnavailable, EpochQuarantined, ImageNotFound, InvalidValue
from service.flows.findings import RunFindings, read_findings
from service.flows.maps.class_pictures import class_means, exchange_map
from service.flows.maps.deferred import Deferred
from service.flows.maps.pictures import Picture
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.selection import EpochSelection
from service.report.content import EvidenceFacts, FindingFacts, FindingSection
from service.report.finding_sentences import describe_finding, describe_unavailable
from service.report.languages import Language


@dataclass(frozen=True)
class FindingPlan:
    """The findings of a run, and its pictures that are not drawn yet."""

    findings: RunFindings
    exchange_map: Deferred[Picture] | None
    class_means: Deferred[Picture] | None

    @property
    def identity(self) -> list[object]:
        """Everything that the section depends on."""
        pictures = (self.exchange_map, self.class_means)
        return [
            self.findings.items,
            self.findings.unavailable,
            [picture.identity for picture in pictures if picture is not None],
        ]

    def section(self, language: Language) -> FindingSection:
        """The section, with the pictures that can be drawn."""
        findings = self.findings
        return FindingSection(
            findings=[
                FindingFacts(
                    sentence=text.sentence,
                    severity=text.severity,
                    refutation=text.refutation,
                    epochs=finding.epochs,
                    evidence=[EvidenceFacts(**vars(item)) for item in finding.evidence],
                )
                for finding in findings.items
                for text in [describe_finding(finding, findings.class_names, language)]
            ],
            unavailable=[describe_unavailable(gap, language) for gap in findings.unavailable],
            exchange_map=_draw(self.exchange_map),
            class_means=_draw(self.class_means),
        )


def plan_findings(pipeline: MapPipeline, selection: EpochSelection) -> FindingPlan:
    """The findings of a run, and pictures of its classes for the epochs of a report."""
    findings = read_findings(pipeline, selection.run_id)
    if not selection.epochs:
        return FindingPlan(findings, None, None)
    picture = None
    with suppress(InvalidValue):  # more classes than a page has
        picture = class_means(pipeline, selection.run_id, None, None)
    # An epoch that was not tested is not tested for a report.
    tested_epoch = findings.map_epoch
    tests = None if tested_epoch is None else exchange_map(pipeline, findings.run_id, tested_epoch)
    return FindingPlan(findings, tests, picture)


def _draw(picture: Deferred[Picture] | None) -> bytes | None:
    """The picture; None without the images or the checkpoints that it needs."""
    if picture is None:
        return None
    with suppress(DatasetUnavailable, EpochQuarantined, ImageNotFound, InvalidValue):
        return picture.compute().value.content
    return None
