"""Reports of runs without epochs, with few, and with more epochs than a sheet has columns."""

import itertools
import re

import pytest

from service.core.spec import RunSpec
from service.errors import InvalidValue, RunNotFound
from service.flows.maps.pictures import MapPictures
from service.flows.maps.pipeline import MapPipeline
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.report.document import COLUMNS, ReportQuery, run_report, sample
from service.store import run_lifecycle, runs, schema
from service.store.run_status import RunStatus
from service.store.store import open_store

NAME = "<script>alert(1)</script>"


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as store:
        schema.ensure(store)
        yield store


@pytest.mark.parametrize("count", [0, 1, 2, 50, 51, 52, 101, 102, 103, 1000, 10_001])
@pytest.mark.parametrize("limit", [2, 5, COLUMNS])
def test_sample_is_even_and_includes_first_and_last(count, limit):
    items = list(range(count))
    sampled_items, step = sample(items, limit)
    assert len(sampled_items) <= limit
    if count <= limit:
        assert (sampled_items, step) == (items, 1)
    else:
        assert (sampled_items[0], sampled_items[-1]) == (0, count - 1)
        assert {b - a for a, b in itertools.pairwise(sampled_items[:-1])} <= {step}
        assert 0 < sampled_items[-1] - sampled_items[-2] <= step


def test_sample_of_the_papers_epochs_is_every_second_epoch():
    assert sample(range(101), COLUMNS) == (list(range(0, 101, 2)), 2)


def test_report_of_run_without_epochs_changes_with_its_status(store, tmp_path):
    pictures = MapPictures(MapPipeline(store, tmp_path))
    spec = RunSpec(dataset="digits", name=NAME)
    with store.write_session() as session:
        runs.create(session, spec.name, [], spec.model_dump(mode="json"), spec.epochs)
    queued = run_report(pictures, ReportQuery(1))
    text = queued.compute().value.decode()
    assert "no epochs yet" in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert b"no epochs yet" in run_report(pictures, ReportQuery(1, epochs="7")).compute().value
    with pytest.raises(InvalidValue):
        run_report(pictures, ReportQuery(1, epochs="soup"))
    with pytest.raises(RunNotFound):
        run_report(pictures, ReportQuery(2))
    with store.write_session() as session:
        assert run_lifecycle.finish(
            session, 1, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
    cancelled = run_report(pictures, ReportQuery(1))
    assert cancelled.identity != queued.identity
    assert b"ended before its first epoch" in cancelled.compute().value


def test_report_samples_epochs_but_counts_blanks_of_all(store, tmp_path, monkeypatch):
    monkeypatch.setattr("service.report.document.COLUMNS", 3)
    spec = RunSpec(dataset="digits", name=NAME, epochs=3, samples_per_epoch=30, batch_size=30)
    url = f"sqlite:///{tmp_path / 'camreel.db'}"
    start_run(store, InlineExecutor(), Workspace(url, "sql", tmp_path), spec)
    pictures = MapPictures(MapPipeline(store, tmp_path))
    report = run_report(pictures, ReportQuery(1))
    text = report.compute().value.decode()
    assert text.count("Showing 3 of 4 epochs: every 2 epochs, and the last.") == 2
    assert re.findall(r'<th scope="row">(\d+)</th>', text) == ["0", "2", "3"]
    assert text.count("<td>40</td>") == 2  # of all four epochs, ten maps a method
    assert "<script" not in text
    assert run_report(pictures, ReportQuery(1)).identity == report.identity
    assert (
        run_report(MapPictures(MapPipeline(store, tmp_path)), ReportQuery(1)).compute().value
        == report.compute().value
    )
