"""Sentences about findings: every kind, property, severity and reason has its text, both ways."""

import re

import pytest

from service.core.insight.exchange import ExchangeGap
from service.core.insight.finding import Evidence, Finding, Region, Severity, Unavailable
from service.core.insight.findings import FINDING_RULES
from service.core.insight.operators import OPERATORS
from service.report.finding_sentences import TEMPLATES, describe_finding, describe_unavailable
from service.report.languages import LANGUAGES

NAMES = tuple("0123456789")


def shortcut(severity: Severity = Severity.CHANGES_PREDICTIONS, **fields: object) -> Finding:
    values = {
        "kind": "shortcut-surround",
        "attribute": "surround",
        "class_indices": (3,),
        "evidence": (
            Evidence("exchange_share", 0.547, 0.05, 100),
            Evidence("recall_lost", 0.25, 0.1, 100),
            Evidence("images_turned", 0.5, 0.1, 100),
        ),
        "epochs": (1, 3),
        "region": Region(1, 2, 3, 4, 0.7),
    } | fields
    return Finding(severity=severity, **values)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_property_severity_and_reason_has_a_text(language):
    templates = TEMPLATES[language]
    kinds = {kind for rule in FINDING_RULES for kind in rule.kinds}
    assert kinds <= set(templates.sentences)
    assert kinds <= set(templates.refutations)
    assert set(OPERATORS) == set(templates.properties)
    assert set(Severity) == set(templates.severities)
    assert {*ExchangeGap, "not-tested"} <= set(templates.reasons)
    for gap in ExchangeGap:
        assert gap.value not in describe_unavailable(Unavailable("shortcut", gap), language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_state_the_numbers_of_the_evidence(language):
    text = describe_finding(shortcut(), NAMES, language)
    assert {"3", "55", "25", "50", "4", "1", "2"} <= set(re.findall(r"\d+", text.sentence))
    assert "{" not in text.sentence + text.refutation
    assert text.refutation


def test_effect_follows_the_severity_and_the_place_the_region():
    severe = describe_finding(shortcut(), NAMES, "en").sentence
    assert "costs up to 25% of the class's recall and turns 50%" in severe
    assert "4 x 3 pixels from column 2, row 1" in severe
    mild = describe_finding(
        shortcut(Severity.EVIDENCE_ONLY, region=Region(0, 0, 28, 28, 1.0)), NAMES, "en"
    ).sentence
    assert "changes few predictions" in mild
    assert "whole surroundings" in mild


def test_unknown_kind_has_a_sentence_that_names_it():
    assert "new-kind" in describe_finding(shortcut(kind="new-kind"), NAMES, "en").sentence
