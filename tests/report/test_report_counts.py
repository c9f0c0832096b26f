"""What a report says of one and of several, and of a training accuracy below that of the tests."""

import dataclasses
import re

import pytest

from service.counts import Count
from service.report.languages import LANGUAGES
from service.report.rendering import render_report
from tests.report.test_report_rendering import Reader, report


def test_count_names_one_and_several() -> None:
    assert f"{Count(1):epoch|epochs}" == "1 epoch"
    assert f"{Count(0):epoch|epochs}" == "0 epochs"
    assert f"{Count(12_000):map|maps}" == "12,000 maps"
    assert f"{Count(1)} {Count(1200):,}" == "1 1,200"


def test_report_of_one_epoch_has_no_plural_of_one() -> None:
    document = Reader(render_report(report(1, epochs_done=10)))
    assert "covers 1 of the run's 11 epochs" in document.text
    assert "Counted over 1 epoch of this report" in document.text
    assert not re.search(r"\b1 epochs", document.text)
    for attributes in document.all("img"):
        assert "at 1 epoch." in attributes["alt"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_report_says_why_training_accuracy_is_below_test_accuracy(language: str) -> None:
    note = LANGUAGES[language].training_accuracy_note
    low, high = (
        [
            dataclasses.replace(facts, train_accuracy=value, test_accuracy=0.9)
            for facts in report().epochs
        ]
        for value in (0.8, 0.95)
    )
    for epochs, is_stated in ((low, True), (high, False)):
        text = Reader(render_report(dataclasses.replace(report(), epochs=epochs), language)).text
        assert (note in text) == is_stated
