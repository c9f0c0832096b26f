"""Listing, cancelling and deleting runs, and the progress display."""

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from service import __version__
from service.cli import main
from service.cli.progress import Snapshot, follow, follow_all
from service.core.spec import RunSpec
from service.flows.dispatch import dispatch_queued
from service.flows.run_activity import RunActivity
from service.flows.workspace import Workspace
from service.settings import Settings
from service.store import run_lifecycle, runs, schema
from service.store.run_status import RunPhase, RunStatus
from service.store.runs import Run
from service.store.store import Store, open_store
from tests.idle_executor import IdleExecutor


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store that commands in the current folder use, with a queued and a finished run."""
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        for name, tag in (("first [bold]", "keep"), ("second", "drop")):
            spec = RunSpec.model_validate({"dataset": "digits", "epochs": 2, "name": name})
            with store.write_session() as session:
                runs.create(session, name, [tag], spec.model_dump(mode="json"), spec.epochs)
        with store.write_session() as session:
            run_lifecycle.finish(session, 2, RunStatus.FAILED, from_statuses=(RunStatus.QUEUED,))
        yield store


@pytest.fixture
def camreel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Calls a command in this process; returns its exit status or its error line."""

    def call(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["camreel", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code

    return call


def statuses(store: Store) -> dict[int, str]:
    with store.read_session() as session:
        return {run.id: run.status for run in runs.list_newest(session, limit=10)}


def test_version_is_printed(camreel, capsys) -> None:
    assert camreel("--version") == 0
    assert capsys.readouterr().out == f"camreel {__version__}\n"


def test_runs_lists_newest_first_with_literal_names(store, camreel, capsys) -> None:
    assert camreel("runs") == 0
    listing = capsys.readouterr().out
    assert listing.index("second") < listing.index("first [bold]")
    assert "0/2" in listing


def test_runs_json_filters_by_status_and_tag(store, camreel, capsys) -> None:
    assert camreel("runs", "--json", "--status", "failed") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["id"], document["status"], document["tags"]) == (2, "failed", ["drop"])
    assert document["test_accuracy"] is None
    assert camreel("runs", "--json", "--tag", "keep") == 0
    assert [document["id"] for document in json.loads(capsys.readouterr().out)] == [1]
    assert "one of queued, running" in camreel("runs", "--status", "done")


def test_cancel_of_queued_run(store, camreel) -> None:
    assert camreel("cancel", "1") == 0
    assert statuses(store) == {1: "cancelled", 2: "failed"}
    assert "has ended already" in camreel("cancel", "1")


def test_delete_needs_confirmation(store, camreel, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "--yes" in camreel("delete", "1", "2")
    assert set(statuses(store)) == {1, 2}
    assert camreel("delete", "1", "2", "--yes") == 0
    assert statuses(store) == {}


def test_delete_with_missing_run_deletes_nothing(store, camreel) -> None:
    assert "no run 9" in camreel("delete", "1", "9", "--yes")
    assert set(statuses(store)) == {1, 2}


def test_delete_with_running_run_deletes_nothing(store, camreel) -> None:
    with store.write_session() as session:
        run_lifecycle.claim(session, 1)
    assert "run 1 is running" in camreel("delete", "2", "1", "--yes").lower()
    assert set(statuses(store)) == {1, 2}


@pytest.mark.parametrize(
    ("answer", "remaining_ids"), [("n\n", {1, 2}), ("\n", {1, 2}), ("yes\n", {1})]
)
def test_delete_asks_on_a_terminal(
    store, camreel, monkeypatch, capsys, answer: str, remaining_ids: set[int]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    camreel("delete", "2")
    assert "run 2 (second)" in capsys.readouterr().out
    assert set(statuses(store)) == remaining_ids


def snapshot_at(epoch: int, status: str = "running") -> Snapshot:
    loss = 0.5 / epoch if epoch > 0 else None
    activity = RunActivity(RunPhase.TRAINING, seconds_per_epoch=80.0)
    blanks = {"proposed": (epoch, 10)}
    return Snapshot(
        status,
        epoch,
        2,
        0.5,
        loss,
        0.9,
        blanks,
        activity if status == "running" else RunActivity(),
        test_images_total=10_000,
    )


def waiting_snapshot(status: str, activity: RunActivity) -> Snapshot:
    return Snapshot(status, -1, 2, 0.0, None, None, {}, activity, test_images_total=10_000)


def test_piped_progress_is_one_line_per_epoch(monkeypatch) -> None:
    monkeypatch.setattr("service.cli.progress.POLL_SECONDS", 0)
    states = iter(
        [
            waiting_snapshot("queued", RunActivity(queue_position=2)),
            *[waiting_snapshot("queued", RunActivity(queue_position=1))] * 2,
            waiting_snapshot("running", RunActivity(RunPhase.LOADING)),
            waiting_snapshot("running", RunActivity(RunPhase.EVALUATING)),
            *[snapshot_at(1)] * 3,
            snapshot_at(2, "succeeded"),
        ]
    )
    output = io.StringIO()
    snapshot = follow(Console(file=output, width=40), lambda: next(states))
    assert snapshot.has_ended
    assert output.getvalue().splitlines() == [
        "epoch 0/2  queued  number 2 in the queue",
        "epoch 0/2  queued  number 1 in the queue",
        "epoch 0/2  running  loading the dataset",
        "epoch 0/2  running  evaluating epoch 0 on 10,000 test images",
        "epoch 1/2  running  loss 0.5000  accuracy 90.00%  blank: proposed 1/10",
        "epoch 2/2  succeeded  loss 0.2500  accuracy 90.00%  blank: proposed 2/10",
    ]


def test_progress_of_several_runs_ends_with_the_last(monkeypatch) -> None:
    monkeypatch.setattr("service.cli.progress.POLL_SECONDS", 0)
    states = {
        "run 1": iter([snapshot_at(1, "succeeded")] * 3),
        "run 2": iter([snapshot_at(1), snapshot_at(1), snapshot_at(2, "failed")]),
    }
    output = io.StringIO()
    snapshots = {label: partial(next, iterator) for label, iterator in states.items()}
    latest = follow_all(Console(file=output), snapshots)
    assert {label: snapshot.status for label, snapshot in latest.items()} == {
        "run 1": "succeeded",
        "run 2": "failed",
    }
    labels = [line.partition(":")[0] for line in output.getvalue().splitlines()]
    assert labels == ["run 1", "run 2", "run 2"]


def test_terminal_progress_shows_bar_and_metrics(monkeypatch) -> None:
    monkeypatch.setattr("service.cli.progress.POLL_SECONDS", 0)
    recording = RunActivity(RunPhase.RECORDING)
    states = iter([snapshot_at(1), replace(snapshot_at(2, "succeeded"), activity=recording)])
    output = io.StringIO()
    follow(Console(file=output, force_terminal=True, width=80), lambda: next(states))
    assert "2/2" in output.getvalue()
    assert "recording the maps of epoch 3" in output.getvalue()
    assert "accuracy 90.00%" in output.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (9.99, "10.0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (7500, "2 h 5 min")],
)
def test_time_left_is_in_two_units(seconds: float, text: str) -> None:
    activity = RunActivity(RunPhase.TRAINING, seconds_per_epoch=seconds)
    snapshot = Snapshot("running", 1, 2, 0.0, 0.5, 0.9, {}, activity, test_images_total=10_000)
    assert snapshot.activity_text == f"training epoch 2  {text} per epoch, about {text} left"


@pytest.mark.parametrize(
    "command", [("train", "--set", "dataset=digits"), ("resume", "2")], ids=str
)
def test_run_of_a_command_is_not_taken_by_a_service(
    store: Store, monkeypatch: pytest.MonkeyPatch, camreel, tmp_path: Path, command: tuple[str, ...]
) -> None:
    executor = IdleExecutor()
    trained: list[int] = []

    def scan_before_it_is_claimed(_services: object, _console: object, run: Run) -> None:
        trained.append(run.id)
        dispatch_queued(store, executor, Workspace("", "", tmp_path))

    # The package has a function of the same name.
    module = importlib.import_module("service.cli.train")
    monkeypatch.setattr(module, "_train", scan_before_it_is_claimed)
    assert camreel(*command) == 0
    # The service dispatches the run that waits in the database, but not the command's.
    assert [task.arguments[1] for task in executor.tasks] == [1]
    assert trained == [3 if command[0] == "train" else 2]
