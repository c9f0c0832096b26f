"""Reports of runs as they stand: none yet, few epochs, and more than a page has columns."""

import itertools
import re

import pytest

from service.core.spec import RunSpec
from service.errors import InvalidValue, RunNotFound
from service.flows.heatmaps import Pictures
from service.flows.report import COLUMNS, ReportQuery, run_report, sampled
from service.flows.training import start_run
from service.flows.viewing import Viewer
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import runs, schema
from service.store.store import open_store

NAME = "<script>alert(1)</script>"


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as store:
        schema.ensure(store)
        yield store


@pytest.mark.parametrize("count", [0, 1, 2, 50, 51, 52, 101, 102, 103, 1000, 10_001])
@pytest.mark.parametrize("most", [2, 5, COLUMNS])
def test_a_sample_is_even_and_has_the_first_and_the_last(count, most):
    items = list(range(count))
    chosen, step = sampled(items, most)
    assert len(chosen) <= most
    if count <= most:
        assert (chosen, step) == (items, 1)
    else:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
        assert {b - a for a, b in itertools.pairwise(chosen[:-1])} <= {step}
        assert 0 < chosen[-1] - chosen[-2] <= step


def test_the_papers_epochs_are_every_second_one():
    assert sampled(range(101), COLUMNS) == (list(range(0, 101, 2)), 2)


def test_a_run_without_epochs_has_a_report_that_changes_with_its_status(store, tmp_path):
    pictures = Pictures(Viewer(store, tmp_path))
    spec = RunSpec(dataset="digits", name=NAME)
    with store.write_session() as session:
        runs.create(session, spec.name, [], spec.model_dump(mode="json"), spec.epochs)
    queued = run_report(pictures, ReportQuery(1))
    text = queued.draw().decode()
    assert "no epochs yet" in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert b"no epochs yet" in run_report(pictures, ReportQuery(1, epochs="7")).draw()
    with pytest.raises(InvalidValue):
        run_report(pictures, ReportQuery(1, epochs="soup"))
    with pytest.raises(RunNotFound):
        run_report(pictures, ReportQuery(2))
    with store.write_session() as session:
        assert runs.finish(session, 1, runs.CANCELLED, from_statuses=(runs.QUEUED,))
    cancelled = run_report(pictures, ReportQuery(1))
    assert cancelled.etag != queued.etag
    assert b"ended before its first epoch" in cancelled.draw()


def test_more_epochs_than_columns_are_sampled_and_all_are_counted(store, tmp_path, monkeypatch):
    monkeypatch.setattr("service.flows.report.COLUMNS", 3)
    spec = RunSpec(dataset="digits", name=NAME, epochs=3, samples_per_epoch=30, batch_size=30)
    url = f"sqlite:///{tmp_path / 'camreel.db'}"
    start_run(store, InlineExecutor(), Workspace(url, "sql", tmp_path), spec)
    pictures = Pictures(Viewer(store, tmp_path))
    made = run_report(pictures, ReportQuery(1))
    text = made.draw().decode()
    assert text.count("Of 4 epochs 3 are shown, evenly spaced: one in every 2") == 2
    assert re.findall(r'<th scope="row">(\d+)</th>', text) == ["0", "2", "3"]
    assert text.count("<td>40</td>") == 2  # of all four epochs, ten maps a method
    assert "<script" not in text
    assert run_report(pictures, ReportQuery(1)).etag == made.etag
    assert run_report(Pictures(Viewer(store, tmp_path)), ReportQuery(1)).draw() == made.draw()
