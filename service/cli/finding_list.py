"""Findings of a run as text."""

from contextlib import closing

from service.cli.terminal import print_line
from service.core.insight.finding import Finding
from service.flows.exchange_tests import exchange_test
from service.flows.findings import RunFindings, read_findings
from service.flows.services import open_services
from service.report.finding_sentences import describe_finding, describe_unavailable
from service.report.languages import LANGUAGES, Language, parse_language
from service.settings import Settings


def print_findings(settings: Settings, run: int, language: str, has_test: bool) -> None:
    """Print the findings of a run; with a test, compute that of the last epoch if it is missing.

    Raises RunNotFound, UnknownName, and as `exchange_test`.
    """
    reader_language = parse_language(language)
    with closing(open_services(settings).pipeline) as pipeline:
        if has_test:
            exchange_test(pipeline, run, None).compute()
        findings = read_findings(pipeline, run)
    for finding in findings.items:
        _print_finding(findings, finding, reader_language)
    for gap in findings.unavailable:
        print_line(describe_unavailable(gap, reader_language))
    if not findings.items and not findings.unavailable:
        print_line(LANGUAGES[reader_language].no_findings)


def _print_finding(findings: RunFindings, finding: Finding, language: Language) -> None:
    text = describe_finding(finding, findings.class_names, language)
    print_line(f"{text.severity}: {text.sentence}")
    for item in finding.evidence:
        threshold = "" if item.threshold is None else f" (threshold {item.threshold:g})"
        print_line(f"  {item.name} {item.value:.3f}{threshold}, n = {item.n}")
    print_line(f"  {LANGUAGES[language].refutation}{text.refutation}")
