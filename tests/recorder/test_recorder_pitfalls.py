"""What goes wrong in recorders of other tools, and does not here."""

import gc
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import camreel
import pytest
import torch
from camreel.errors import CannotExport, ConstantWeights, ModelChanged, UnsupportedWrapper
from fastapi.testclient import TestClient
from torch import Tensor, nn

from tests.recorder.conftest import (
    FaultyTransport,
    NewRecorder,
    TinyNetwork,
    assert_equal_weights,
    change_weights,
    new_network,
    new_sender,
    spool_of,
    stored_weights,
)


def names_of(recorder: camreel.Recorder) -> set[str]:
    """Names of the tensors of the first epoch."""
    (epoch,) = spool_of(recorder).pending_epochs()
    return {tensor.name for tensor in epoch.read().tensors}


PLAIN_NAMES = {
    "conv.weight",
    "conv.bias",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "head.weight",
    "head.bias",
}

WRAPPERS = {
    "compiled": lambda network: torch.compile(network, backend="eager"),
    "parallel": nn.DataParallel,
    "average": torch.optim.swa_utils.AveragedModel,
    "all": lambda network: torch.compile(nn.DataParallel(network), backend="eager"),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_leave_no_trace_in_names(
    name: str, client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    network = new_network()
    wrapper = WRAPPERS[name](network)
    recorder = new_recorder(wrapper)
    change_weights(wrapper, 3)
    recorder.epoch()
    assert names_of(recorder) == PLAIN_NAMES
    new_sender(recorder, transport).send_pending()
    inner = wrapper.module if name == "average" else network
    assert_equal_weights(stored_weights(client, 1, 0), inner)


def test_compiled_parts_leave_no_trace_in_names(new_recorder: NewRecorder) -> None:
    network = new_network()
    network.conv = torch.compile(network.conv, backend="eager")
    compiled_part = network.conv
    recorder = new_recorder(network)
    recorder.epoch()
    assert names_of(recorder) == PLAIN_NAMES
    assert network.conv is compiled_part


def test_module_that_is_compiled_later_is_the_same_network(new_recorder: NewRecorder) -> None:
    network = new_network()
    recorder = new_recorder(network)
    network.conv = torch.compile(network.conv, backend="eager")
    network.compile(backend="eager")
    assert recorder.epoch() == 0
    assert names_of(recorder) == PLAIN_NAMES


class FullyShardedDataParallel(nn.Module):
    """Has the name that the real one has, and hides its weights like it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = network


def test_wrappers_that_hide_weights_are_refused(new_recorder: NewRecorder) -> None:
    scripted = torch.jit.trace(new_network().eval(), torch.rand(1, 3, 8, 8))
    for model in (FullyShardedDataParallel(new_network()), scripted, new_network().to("meta")):
        with pytest.raises(UnsupportedWrapper):
            new_recorder(model)
    with pytest.raises(UnsupportedWrapper, match="not function"):
        new_recorder(lambda images: images)


class BakedNetwork(TinyNetwork):
    """Computes with tensors that are no parameters of it, as networks of Keras do."""

    def __init__(self, *, shares_memory: bool) -> None:
        super().__init__()
        weight = self.head.weight if shares_memory else torch.rand(3, 4, requires_grad=True)
        self.variables = [weight.detach() if shares_memory else weight]

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.norm(self.conv(images))).mean(dim=(2, 3))
        return nn.functional.linear(features, self.variables[0])


class ConstantNetwork(nn.Module):
    """None of its weights is an input of the exported graph."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize(
    "new_model",
    [
        lambda: BakedNetwork(shares_memory=True),
        lambda: BakedNetwork(shares_memory=False),
        ConstantNetwork,
    ],
)
def test_weights_that_are_constants_are_refused(new_model, new_recorder: NewRecorder) -> None:
    with pytest.raises(ConstantWeights):
        new_recorder(new_model())


def test_network_that_cannot_be_exported_is_refused_with_the_reason(
    new_recorder: NewRecorder,
) -> None:
    class Branching(TinyNetwork):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images if images.sum() > 0 else -images)

    with pytest.raises(CannotExport, match=r"test_recorder_pitfalls\.py"):
        new_recorder(Branching())


class CountingNetwork(TinyNetwork):
    """Changes its buffers also in evaluation mode."""

    def forward(self, images: Tensor) -> Tensor:
        self.norm.num_batches_tracked.add_(1)
        self.norm.running_mean.mul_(0.5).add_(images.mean())
        return super().forward(images)


def test_buffers_are_as_before_the_export(new_recorder: NewRecorder) -> None:
    torch.manual_seed(0)
    network = CountingNetwork()
    copies = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with suppress(CannotExport):  # its buffers must not change either
        new_recorder(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, copies[name]), name


def test_evaluation_mode_of_parts_is_as_before(new_recorder: NewRecorder) -> None:
    network = new_network()
    network.norm.eval()  # as in fine-tuning
    recorder = new_recorder(network)
    recorder.epoch()
    assert (network.training, network.norm.training, network.drop.training) == (True, False, True)


def test_hooks_of_the_user_stay(new_recorder: NewRecorder) -> None:
    network = new_network()
    calls: list[int] = []
    network.conv.register_forward_hook(lambda *_: calls.append(1))
    recorder = new_recorder(network)
    calls.clear()
    recorder.epoch()
    assert calls == []
    network(torch.rand(2, 3, 8, 8))
    assert calls == [1]


CHANGES = {
    "a layer more": lambda network: setattr(network, "extra", nn.Linear(2, 2)),
    "another head": lambda network: setattr(network, "head", nn.Linear(4, 5)),
    "another activation": lambda network: setattr(network, "relu", nn.GELU()),
    "a layer less": lambda network: delattr(network, "drop"),
    "another type": lambda network: network.half(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_network_is_refused(name: str, new_recorder: NewRecorder) -> None:
    network = new_network()
    recorder = new_recorder(network)
    recorder.epoch()
    CHANGES[name](network)
    with pytest.raises(ModelChanged):
        recorder.epoch()
    assert recorder.status.recorded_epochs == 1


def test_unfrozen_layers_are_the_same_network(new_recorder: NewRecorder) -> None:
    network = new_network()
    network.conv.requires_grad_(False)
    recorder = new_recorder(network)
    network.conv.requires_grad_(True)
    assert recorder.epoch() == 0


def test_changed_network_costs_the_training_nothing_unless_strict(
    new_recorder: NewRecorder, caplog
) -> None:
    network = new_network()
    recorder = new_recorder(network, strict=False)
    network.extra = nn.Linear(2, 2)
    assert [recorder.epoch() for _ in range(3)] == [None] * 3
    assert recorder.status.skipped_epochs == 3
    assert "weight extra" in (recorder.status.problem or "") or "extra is new" in (
        recorder.status.problem or ""
    )
    assert [r.name for r in caplog.records].count("camreel") == 1


def test_memory_does_not_grow_with_epochs(
    client: TestClient, transport: FaultyTransport, new_recorder: NewRecorder
) -> None:
    network = new_network()
    recorder = new_recorder(network)

    def record(count: int) -> int:
        for _ in range(count):
            for _ in range(30):
                recorder.step(loss=0.5)
            recorder.epoch(loss=1)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first_bytes = record(20)
        last_bytes = record(100)
    finally:
        tracemalloc.stop()
    # Of an epoch, its number stays: some hundred bytes.
    assert last_bytes - first_bytes < 100 * 500


def test_step_metrics_are_thinned_evenly() -> None:
    from camreel.recorder.metrics import MAX_POINTS, StepMetrics

    steps = StepMetrics()
    for step in range(10_000):
        steps.add({"loss": float(step)})
    (points,) = steps.take().values()
    assert MAX_POINTS / 2 <= len(points) <= MAX_POINTS
    distances = {right[0] - left[0] for left, right in pairwise(points)}
    assert (points[0][0], len(distances)) == (0, 1)
    steps.add({"loss": 1.0})
    assert steps.take() == {"loss": [(10_000, 1.0)]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0]}, "labels: must be 4"),
        ({"labels": [0, 1, 2, 3]}, "labels: must be from 0 to 2"),
        ({"classes": ["a"]}, "classes: must be 3 names"),
        ({"mean": [0.5]}, "mean and std: give both"),
        ({"mean": [0.5] * 2, "std": [1] * 2}, "mean: must have 3 values"),
        ({"mean": 120, "std": 50}, "mean: must be from 0 to 1"),
        ({"probes": torch.zeros(4, 3, 8, 8, dtype=torch.uint8)}, "floating-point"),
        ({"probes": torch.zeros(4, 2, 8, 8)}, "1 or 3"),
        ({"probes": []}, "at least one image"),
        ({"weights": "int8"}, "weights: must be one of"),
        ({"every": 0}, "every: must be"),
        ({"on_full": "wait"}, "on_full: must be one of"),
        ({"durable": "disk"}, "durable: must be one of"),
        ({"url": "localhost:8000"}, "url: must be an address"),
    ],
)
def test_options_are_checked(options, message: str, new_recorder: NewRecorder) -> None:
    with pytest.raises(ValueError, match=message):
        new_recorder(new_network(), **options)
