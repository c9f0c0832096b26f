"""A recorded loop, from its three lines to what the service stores."""

import copy

import pytest
import torch
from camreel.errors import BadEpoch, BadMetric, ModelChanged, RunInUse
from fastapi.testclient import TestClient
from torch import nn

from service.flows.networks import Networks
from service.flows.recorded_runs import RecorderMonitor
from service.store import epochs
from service.store.store import Store
from tests.recorder.conftest import (
    CLASS_NAMES,
    FaultyTransport,
    NewRecorder,
    assert_equal_weights,
    change_weights,
    new_network,
    new_sender,
    spool_of,
    stored_weights,
)


def test_every_epoch_arrives_bit_for_bit_with_its_metrics(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, probes
) -> None:
    network = new_network()
    copies = []
    with new_recorder(
        network,
        labels=[0, 1, 2, 0],
        classes=CLASS_NAMES,
        name="mine",
        tags=["a"],
        config={"lr": 0.1, "optimizer": torch.optim.SGD},
        epochs=2,
    ) as recorder:
        for epoch in range(3):
            change_weights(network, epoch)
            copies.append(copy.deepcopy(network))
            for step in range(4):
                recorder.step(loss=torch.tensor(step / 2))
            assert recorder.epoch(train_loss=1 / (epoch + 1), test_accuracy=torch.tensor(0.5)) == (
                epoch
            )
            change_weights(network, 99)  # after `epoch` has returned: not part of it
        recorder.metrics(1, f1=0.25)
        assert recorder.status.pending_epochs == 3
    sender = new_sender(recorder, transport)
    assert sender.send_pending() == 3
    run = client.get("/runs/1").json()
    assert (run["status"], run["name"], run["tags"], run["epochs_done"]) == (
        "succeeded",
        "mine",
        ["a"],
        2,
    )
    assert run["recording"]["class_names"] == CLASS_NAMES
    assert run["recording"]["config"]["lr"] == 0.1
    for epoch, network_copy in enumerate(copies):
        assert_equal_weights(stored_weights(client, 1, epoch), network_copy)
    stored_epochs = client.get("/runs/1/epochs").json()["items"]
    assert [e["train_loss"] for e in stored_epochs] == [1, 0.5, 1 / 3]
    assert stored_epochs[1]["metrics"] == {"train_loss": 0.5, "test_accuracy": 0.5, "f1": 0.25}
    assert stored_epochs[1]["late_metrics"] == ["f1"]
    steps = client.get("/runs/1/steps?limit=2").json()
    assert steps["items"][1] == {
        "epoch": 1,
        "metrics": {"loss": [[4, 0.0], [5, 0.5], [6, 1.0], [7, 1.5]]},
    }
    rest = client.get(f"/runs/1/steps?cursor={steps['next']}").json()
    assert [item["epoch"] for item in rest["items"]] == [2]
    labels = [probe["label"] for probe in client.get("/runs/1/probes").json()["items"]]
    assert labels == [0, 1, 2, 0]


def test_maps_of_probes_are_those_of_autograd_in_the_training(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, probes
) -> None:
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    normalized = (probes - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)

    class Normalize:  # as torchvision's
        def __init__(self) -> None:
            self.mean, self.std = mean, std

    class Compose:
        def __init__(self) -> None:
            self.transforms = [object(), Normalize()]

    network = new_network()
    with new_recorder(network, probes=normalized, transform=Compose()) as recorder:
        recorder.epoch()
    new_sender(recorder, transport).send_pending()
    body = client.get("/runs/1/epochs/0/cam.json?image=probe:2&class=1").raise_for_status().json()
    scores = torch.tensor(list(body["scores"].values()))
    network.eval()
    expected = network(normalized[2:3]).softmax(dim=1)[0]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    # Grad-CAM by autograd in the process of the training (Selvaraju et al. 2017, eq. 1-2).
    activations = network.relu(network.norm(network.conv(normalized[2:3]))).detach()
    activations.requires_grad_()
    score = network.head(activations.mean(dim=(2, 3)))[0, 1]
    (gradients,) = torch.autograd.grad(score, activations)
    expected_map = (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1)[0].relu()
    assert body["layer"] == "relu"
    difference = (torch.tensor(body["values"]) - expected_map).abs().max()
    assert difference <= 1e-5 * expected_map.max()


def test_unchanged_tensors_and_epochs_are_sent_once(
    transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    network = new_network()
    recorder = new_recorder(network)
    sender = new_sender(recorder, transport)
    recorder.epoch()
    sender.send_pending()
    first_count = transport.count("PUT", "/tensors/")
    with torch.no_grad():
        network.head.weight += 1
    recorder.epoch()
    sender.send_pending()
    sender.send_pending()
    assert transport.count("PUT", "/tensors/") == first_count + 1
    # The weights of what is committed take no more space.
    assert spool_of(recorder).pending_bytes() == 0


def test_numbers_of_the_user_are_kept_as_a_metric(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    recorder = new_recorder(new_network(), every=2)
    numbers = [recorder.epoch(number=number) for number in (1, 2, 3, 4, 5)]
    assert numbers == [1, None, 3, None, 5]
    recorder.metrics(3, f1=0.5)
    new_sender(recorder, transport).send_pending()
    stored_epochs = client.get("/runs/1/epochs").json()["items"]
    assert [e["epoch"] for e in stored_epochs] == [0, 1, 2]
    assert [e["metrics"]["epoch"] for e in stored_epochs] == [1, 3, 5]
    assert stored_epochs[1]["metrics"]["f1"] == 0.5


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (ValueError("out of\nmemory"), "failed", "ValueError: out of memory"),
        (KeyboardInterrupt(), "cancelled", None),
        (SystemExit(0), "succeeded", None),
    ],
)
def test_run_ends_as_its_loop_ends(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, error, status, detail
) -> None:
    recorder = new_recorder(new_network())
    recorder.epoch()
    with pytest.raises(type(error)), recorder:
        raise error
    sender = new_sender(recorder, transport)
    for _ in range(2):
        sender.send_pending()
    run = client.get("/runs/1").json()
    assert run["status"] == status
    assert (run["error"] or {}).get("detail") == detail


def test_lost_run_continues_with_the_next_epoch(
    client: TestClient, store: Store, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    recorder = new_recorder(new_network())
    sender = new_sender(recorder, transport)
    sender.send_pending()
    monitor = RecorderMonitor(store, timeout_seconds=90)
    assert (monitor.scan(0), monitor.scan(91)) == ([], [1])
    assert client.get("/runs/1").json()["status"] == "lost"
    recorder.epoch()
    sender.send_pending()
    assert client.get("/runs/1").json()["status"] == "running"


@pytest.mark.parametrize("by_id", [True, False])
def test_recorder_continues_a_run_that_has_failed(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, by_id: bool
) -> None:
    network = new_network()
    recorder = new_recorder(network)
    recorder.epoch(loss=1)
    with pytest.raises(ValueError, match="boom"), recorder:
        raise ValueError("boom")
    new_sender(recorder, transport).send_pending()
    assert client.get("/runs/1").json()["status"] == "failed"
    with new_recorder(network, resume=1 if by_id else recorder.status.spool) as second:
        change_weights(network, 1)
        assert second.epoch(loss=0.5) == 1
    new_sender(second, transport).send_pending()
    run = client.get("/runs/1").json()
    assert (run["status"], run["epochs_done"], run["error"]) == ("succeeded", 1, None)
    assert client.get("/runs").json()["next"] is None


def test_two_recorders_cannot_record_one_run(new_recorder: NewRecorder) -> None:
    recorder = new_recorder(new_network())
    with pytest.raises(RunInUse):
        new_recorder(new_network(), resume=recorder.status.spool)


def test_another_network_cannot_continue_a_run(new_recorder: NewRecorder, probes) -> None:
    with new_recorder(new_network()) as recorder:
        pass
    other_network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelChanged, match="another network"):
        new_recorder(other_network, resume=recorder.status.spool)
    # The lock is free again.
    new_recorder(new_network(), resume=recorder.status.spool)


def test_epoch_again_is_the_same_epoch_or_an_error(
    transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    network = new_network()
    recorder = new_recorder(network)
    recorder.epoch()
    for _ in range(2):  # before and after it is sent
        assert recorder.epoch(number=0) == 0
        with torch.no_grad():
            network.head.bias += 1
        with pytest.raises(BadEpoch, match="with other weights"):
            recorder.epoch(number=0)
        with torch.no_grad():
            network.head.bias -= 1
        new_sender(recorder, transport).send_pending()
    assert recorder.status.recorded_epochs == 1


def test_weights_of_an_average_are_recorded(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    network = new_network()
    average = torch.optim.swa_utils.AveragedModel(network)
    change_weights(average.module, 5)
    sources = [lambda: average, average.state_dict, lambda: dict(average.module.named_parameters())]
    for position, source in enumerate(sources):
        recorder = new_recorder(network, weights_from=source)
        recorder.epoch()
        new_sender(recorder, transport).send_pending()
        assert_equal_weights(stored_weights(client, position + 1, 0), average.module)


def test_average_without_a_weight_is_an_error(new_recorder: NewRecorder) -> None:
    recorder = new_recorder(new_network(), weights_from=lambda: {"other": torch.zeros(1)})
    with pytest.raises(ModelChanged, match=r"no weight conv\.bias"):
        recorder.epoch()


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
def test_rounded_weights_take_half_the_space_and_are_stated(
    client: TestClient,
    store: Store,
    transport: FaultyTransport,
    new_recorder: NewRecorder,
    weights,
    probes,
) -> None:
    network = new_network()
    recorder = new_recorder(network, weights=weights)
    recorder.epoch()
    new_sender(recorder, transport).send_pending()
    assert client.get("/runs/1").json()["recording"]["weights"] == weights
    dtype = getattr(torch, weights)
    for name, tensor in stored_weights(client, 1, 0).items():
        assert torch.equal(tensor, network.state_dict()[name].to(dtype)), name
    with store.read_session() as session:
        epoch = epochs.get(session, 1, 0)
    rounded = copy.deepcopy(network).eval().to(dtype).float()
    torch.testing.assert_close(Networks(store).load(epoch)(probes), rounded(probes))


def test_bad_metrics_raise_only_if_strict(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder, caplog
) -> None:
    strict = new_recorder(new_network())
    for metrics in ({"loss": "0.5"}, {"loss": torch.zeros(2)}, {"": 1}, {"x\n": 1}, {"a" * 257: 1}):
        with pytest.raises(BadMetric):
            strict.epoch(**metrics)
    assert strict.status.recorded_epochs == 0
    recorder = new_recorder(new_network(), strict=False)
    for _ in range(2):
        assert recorder.epoch(loss="x", accuracy=0.5, diverged=float("nan")) is not None
    assert [record.name for record in caplog.records].count("camreel") == 1
    new_sender(recorder, transport).send_pending()
    metrics = client.get("/runs/1/epochs/0").json()["metrics"]
    assert metrics == {"accuracy": 0.5, "diverged": None}


def test_late_metrics_are_added_once(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    recorder = new_recorder(new_network())
    recorder.epoch(loss=1)
    sender = new_sender(recorder, transport)
    sender.send_pending()
    recorder.metrics(0, test_accuracy=0.75)
    with pytest.raises(BadMetric, match="has it already"):
        recorder.metrics(0, test_accuracy=0.8)
    with pytest.raises(BadEpoch):
        recorder.metrics(7, test_accuracy=0.8)
    sender.send_pending()
    epoch = client.get("/runs/1/epochs/0").json()
    assert (epoch["test_accuracy"], epoch["metrics"]["loss"]) == (0.75, 1)
    path = "/runs/1/epochs/0/metrics"
    headers = {"Camreel-Lease": sender.lease.lease}
    again = client.post(path, json={"metrics": {"test_accuracy": 0.75}}, headers=headers)
    assert again.status_code == 200
    refusal = client.post(path, json={"metrics": {"loss": 2}}, headers=headers)
    assert (refusal.status_code, refusal.json()["type"]) == (409, "run-conflict")


def test_run_that_a_person_cancels_is_no_longer_sent(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    from camreel.errors import RunEnded

    recorder = new_recorder(new_network())
    sender = new_sender(recorder, transport)
    sender.send_pending()
    client.post("/runs/1/cancel").raise_for_status()
    recorder.epoch()
    with pytest.raises(RunEnded):
        sender.send_pending()


def test_other_ranks_do_nothing(
    new_recorder: NewRecorder, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with new_recorder(new_network()) as recorder:
        recorder.step(loss="not even checked")
        assert recorder.epoch(loss=1) is None
        recorder.metrics(0, x=1)
        assert not recorder.status.is_recording
    assert not (tmp_path / "spools").exists()
