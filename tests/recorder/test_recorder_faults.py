"""Nothing that `epoch` has acknowledged is lost, whatever fails between the loop and the store."""

import errno
import json
import random
import time
from pathlib import Path

import httpx
import pytest
import torch
from camreel.__main__ import main as camreel_command
from camreel.errors import LeaseLost, SpoolFull, Unavailable
from camreel.spool import Spool, background
from camreel.spool.background import BackgroundSender, backoff_seconds
from camreel.spool.http_destination import HttpDestination
from fastapi.testclient import TestClient

from service.flows.spools import SpoolWatcher, import_spool
from service.store.store import Store
from tests.processes import wait_until
from tests.recorder.conftest import (
    FaultyTransport,
    NewRecorder,
    assert_equal_weights,
    change_weights,
    new_network,
    new_sender,
    spool_of,
    stored_weights,
)


def answer(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": "not now"}, headers=headers)


def test_every_request_may_fail_before_and_after_it_is_processed(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    network = new_network()
    with new_recorder(network, probes=torch.rand(1, 3, 8, 8), labels=[0]) as recorder:
        for epoch in range(2):
            change_weights(network, epoch)
            recorder.step(loss=1)
            recorder.epoch(loss=epoch)
            recorder.metrics(epoch, f1=0.5)
    attempts: dict[str, int] = {}
    statuses = [500, 502, 503, 429, 507]

    def fail_before(request: httpx.Request) -> httpx.Response | None:
        key = f"{request.method} {request.url.path}"
        attempts[key] = attempts.get(key, 0) + 1
        if attempts[key] == 1:
            return answer(statuses[len(attempts) % len(statuses)])
        return None

    def fail_after(request: httpx.Request) -> None:
        if attempts[f"{request.method} {request.url.path}"] == 2:
            raise httpx.ReadError("connection reset")

    transport.fault, transport.fault_after = fail_before, fail_after
    failures = 0
    sender = new_sender(recorder, transport)
    while not spool_of(recorder).is_done():
        try:
            sender.send_pending()
        except Unavailable:
            failures += 1
    assert failures >= 2 * len(attempts) - 4
    run = client.get("/runs/1").json()
    assert (run["status"], run["epochs_done"]) == ("succeeded", 1)
    assert client.get("/runs").json()["items"][1:] == []
    assert_equal_weights(stored_weights(client, 1, 1), network)
    items = client.get("/runs/1/epochs").json()["items"]
    assert [item["metrics"] for item in items] == [{"loss": e, "f1": 0.5} for e in (0, 1)]


def test_upload_continues_where_a_connection_was_cut(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    class WideNetwork(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 2000, 3)
            self.head = torch.nn.Linear(2000, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.conv(images).relu().mean(dim=(2, 3)))

    network = WideNetwork()
    recorder = new_recorder(network)
    recorder.epoch()
    (epoch,) = spool_of(recorder).pending_epochs()
    size_bytes = max(tensor.size_bytes for tensor in epoch.read().tensors)
    parts: list[str] = []

    def cut(request: httpx.Request) -> httpx.Response | None:
        content_range = request.headers.get("Content-Range", "")
        if content_range.endswith(f"/{size_bytes}"):
            parts.append(content_range)
            if len(parts) == 2:
                raise httpx.WriteError("broken pipe")
        return None

    transport.fault = cut
    with pytest.raises(Unavailable):
        new_sender(recorder, transport, part_bytes=2**16).send_pending()
    new_sender(recorder, transport, part_bytes=2**16).send_pending()
    starts = [int(part.split()[1].split("-")[0]) for part in parts]
    assert starts[:2] == [0, 2**16]  # cut here
    assert starts[2:] == [0, 2**16, 2**17, 3 * 2**16]
    for name, tensor in stored_weights(client, 1, 0).items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_retry_after_is_observed() -> None:
    transport = httpx.MockTransport(lambda _: answer(429, **{"Retry-After": "7"}))
    with pytest.raises(Unavailable) as error:
        HttpDestination("http://127.0.0.1", transport=transport).add_network(b"{}")
    assert error.value.retry_after_seconds == 7
    assert backoff_seconds(1, error.value.retry_after_seconds) == 7


def test_delays_grow_and_differ() -> None:
    random.seed(0)
    delays = [[backoff_seconds(failures) for _ in range(20)] for failures in (1, 4, 40)]
    for values, longest in zip(delays, (0.5, 4, 60), strict=True):
        assert all(longest / 2 <= value <= longest for value in values)
        assert len(set(values)) == 20


def test_thread_sends_while_the_training_goes_on(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, monkeypatch
) -> None:
    monkeypatch.setattr(background, "FIRST_BACKOFF_SECONDS", 0.01)
    failures = iter([503, 503])
    transport.fault = lambda _: answer(status) if (status := next(failures, None)) else None
    network = new_network()
    recorder = new_recorder(network)
    thread = BackgroundSender(new_sender(recorder, transport))
    thread.start()
    recorder.epoch()
    thread.wake()
    wait_until(lambda: thread.sent_epochs == 1, 20)
    assert thread.problem is None
    monkeypatch.setattr(background, "HEARTBEAT_SECONDS", 0.0)
    thread.wake()
    wait_until(lambda: transport.count("POST", "/heartbeat") > 0, 20)
    recorder.close()
    thread.stop(20)
    assert client.get("/runs/1").json()["status"] == "succeeded"
    assert not thread.is_alive


def test_refusal_ends_the_thread_and_not_the_training(
    transport: FaultyTransport, new_recorder: NewRecorder, caplog
) -> None:
    transport.fault = lambda _: answer(401)
    recorder = new_recorder(new_network())
    thread = BackgroundSender(new_sender(recorder, transport))
    thread.start()
    wait_until(lambda: thread.has_ended, 20)
    assert thread.problem is not None
    assert thread.problem.startswith("401")
    assert recorder.epoch() == 0


def test_service_that_does_not_exist_costs_the_training_nothing(
    new_recorder: NewRecorder, caplog
) -> None:
    network = new_network()
    recorder = new_recorder(network, url="http://127.0.0.1:9")
    for epoch in range(3):
        assert recorder.epoch() == epoch
    wait_until(lambda: recorder.status.problem is not None, 20)
    recorder.close(timeout_seconds=0.2)
    assert [r.name for r in caplog.records].count("camreel") == 2  # the problem, and what to do
    assert "python -m camreel sync" in caplog.text
    assert recorder.status.pending_epochs == 3


def test_stale_lease_is_reported(transport: FaultyTransport, new_recorder: NewRecorder) -> None:
    recorder = new_recorder(new_network())
    first, second = (new_sender(recorder, transport) for _ in range(2))
    first.send_pending()
    second.send_pending()
    recorder.epoch()
    with pytest.raises(LeaseLost):
        first.send_pending()
    assert second.send_pending() == 1


# Full spools and disks


def test_full_spool_without_a_sender_is_an_error_or_skips_epochs(
    new_recorder: NewRecorder, caplog
) -> None:
    strict = new_recorder(new_network(), spool_bytes=1)
    assert strict.epoch() == 0
    with pytest.raises(SpoolFull):
        strict.epoch()
    skipping = new_recorder(new_network(), spool_bytes=1, on_full="skip")
    results = [skipping.epoch() for _ in range(3)]
    assert results == [0, None, None]
    assert (skipping.status.skipped_epochs, skipping.status.recorded_epochs) == (2, 1)
    assert [r.name for r in caplog.records].count("camreel") == 1


def test_full_spool_blocks_until_the_service_has_its_epochs(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, monkeypatch
) -> None:
    monkeypatch.setattr(background, "FIRST_BACKOFF_SECONDS", 0.01)
    failures = iter([507] * 3)
    transport.fault = lambda _: answer(status) if (status := next(failures, None)) else None
    monkeypatch.setattr("camreel.recorder.capacity.POLL_SECONDS", 0.01)
    monkeypatch.setattr(
        "camreel.spool.http_destination.HttpDestination",
        lambda url, token: HttpDestination(url, token, transport=transport),
    )
    recorder = new_recorder(new_network(), url="http://127.0.0.1", spool_bytes=1)
    for epoch in range(4):
        assert recorder.epoch() == epoch
    recorder.close()
    assert client.get("/runs/1").json()["epochs_done"] == 3
    assert recorder.status.skipped_epochs == 0


def test_full_disk_leaves_no_half_epoch(new_recorder: NewRecorder, monkeypatch) -> None:
    network = new_network()
    recorder = new_recorder(network, strict=False)
    recorder.epoch()
    names = []

    def fail(file, *arguments) -> None:
        file.write(b"half")
        names.append(file.name)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("camreel.recorder.network.write_tensors", fail)
        assert recorder.epoch() is None
    assert not Path(names[0]).exists()
    assert "No space left" in (recorder.status.problem or "")
    assert recorder.epoch() == 1
    assert [epoch.index for epoch in spool_of(recorder).pending_epochs()] == [0, 1]


# Spools without a service


def test_spool_is_imported_as_often_as_wanted(
    client: TestClient, store: Store, database: str, new_recorder: NewRecorder
) -> None:
    network = new_network()
    recorder = new_recorder(network)
    recorder.epoch(loss=1)
    recordings = client.app.state.services.recordings
    folder = recorder.status.spool
    assert import_spool(recordings, database, folder) == 1
    change_weights(network, 1)
    recorder.epoch(loss=2)
    recorder.close()
    for _ in range(2):
        assert import_spool(recordings, database, folder) == 1
    run = client.get("/runs/1").json()
    assert (run["status"], run["epochs_done"]) == ("succeeded", 1)
    assert_equal_weights(stored_weights(client, 1, 1), network)
    # The weights stay in the folder.
    assert len(list((folder / "epochs").iterdir())) == 2


def test_watched_folder_is_taken_in_as_it_grows(
    client: TestClient, database: str, new_recorder: NewRecorder
) -> None:
    network = new_network()
    recorder = new_recorder(network)
    folder = recorder.status.spool
    watcher = SpoolWatcher(client.app.state.services.recordings, database, (folder.parent,))
    recorder.epoch()
    assert (watcher.scan(), watcher.scan()) == (1, 0)
    assert client.get("/runs/1").json()["status"] == "running"
    assert spool_of(recorder).pending_bytes() == 0
    change_weights(network, 2)
    recorder.epoch()
    # Another service process took over, and its lease is the current one.
    client.post("/runs/1/lease").raise_for_status()
    assert [watcher.scan(), watcher.scan()] == [0, 1]
    assert_equal_weights(stored_weights(client, 1, 1), network)
    recorder.close()
    watcher.scan()
    assert client.get("/runs/1").json()["status"] == "succeeded"


def test_sync_command_sends_and_check_command_verifies(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(
        "camreel.__main__.HttpDestination",
        lambda url, token: HttpDestination(url, token, transport=transport),
    )
    recorder = new_recorder(new_network())
    recorder.epoch()
    recorder.close()
    folder = recorder.status.spool
    assert camreel_command(["check", str(folder)]) == 0
    assert "1 epochs, 1 to be sent, succeeded" in capsys.readouterr().out
    assert camreel_command(["sync", str(folder.parent), "--url", "http://127.0.0.1"]) == 0
    assert client.get("/runs/1").json()["status"] == "succeeded"
    assert camreel_command(["check", str(folder)]) == 0
    assert "0 to be sent, succeeded, run 1 of http://127.0.0.1" in capsys.readouterr().out
    assert camreel_command(["sync", str(folder / "epochs"), "--url", "http://127.0.0.1"]) == 1
    assert "is no spool" in capsys.readouterr().err


def test_damaged_epoch_is_found(new_recorder: NewRecorder, capsys) -> None:
    recorder = new_recorder(new_network())
    recorder.epoch()
    path = spool_of(recorder).epoch_path(0)
    path.write_bytes(path.read_bytes()[:-1])
    assert camreel_command(["check", str(recorder.status.spool)]) == 1
    assert "is truncated" in capsys.readouterr().out


def test_files_of_a_killed_recorder_are_deleted_by_the_next(new_recorder: NewRecorder) -> None:
    with new_recorder(new_network()) as recorder:
        recorder.epoch()
    folder = recorder.status.spool
    half_file = folder / "epochs" / "epoch-00001.safetensors.tmp"
    half_file.write_bytes(b"half")
    resumed = new_recorder(new_network(), resume=folder)
    assert not half_file.exists()
    assert resumed.status.recorded_epochs == 1


def test_epoch_files_are_safetensors_with_their_metrics(new_recorder: NewRecorder) -> None:
    from safetensors import safe_open

    network = new_network().to(memory_format=torch.channels_last)
    recorder = new_recorder(network, durable="power")
    began_seconds = time.time()
    recorder.epoch(loss=0.25)
    with safe_open(spool_of(recorder).epoch_path(0), "pt") as file:
        metadata = file.metadata()
        for name in file.keys():  # noqa: SIM118  no mapping
            assert torch.equal(file.get_tensor(name), network.state_dict()[name])
    assert json.loads(metadata["metrics"]) == {"loss": 0.25}
    assert began_seconds <= float(metadata["time"]) <= time.time()
    assert Spool(recorder.status.spool).description.name == ""
