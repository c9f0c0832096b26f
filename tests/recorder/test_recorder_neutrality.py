"""Training with a recorder is bit for bit training without one."""

import copy
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from tests.recorder.conftest import NewRecorder, TinyNetwork, new_network

EPOCHS, STEPS = 2, 3


class CheckpointedNetwork(TinyNetwork):
    def forward(self, images: Tensor) -> Tensor:
        def features(inputs: Tensor) -> Tensor:
            return self.norm(self.conv(inputs))

        inner = checkpoint(features, images, use_reentrant=False) if self.training else None
        inner = features(images) if inner is None else inner
        return self.head(self.drop(self.relu(inner).mean(dim=(2, 3))))


@dataclass(frozen=True)
class Loop:
    """A way to train."""

    prepare: Callable[[nn.Module], nn.Module] = lambda network: network
    network: Callable[[], nn.Module] = new_network
    casts: Callable[[], AbstractContextManager[Any]] = nullcontext
    memory_format: torch.memory_format = torch.contiguous_format
    accumulated_steps: int = 1
    has_average: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def _freeze(network: nn.Module) -> nn.Module:
    network.conv.requires_grad_(False)
    return network


def _compile(network: nn.Module) -> nn.Module:
    return torch.compile(network, backend="eager")


def _compile_part(network: nn.Module) -> nn.Module:
    network.conv = torch.compile(network.conv, backend="eager")
    return network


def _checkpointed() -> nn.Module:
    torch.manual_seed(0)
    return CheckpointedNetwork()


LOOPS = {
    "fp32": Loop(),
    "autocast bf16": Loop(casts=lambda: torch.autocast("cpu", torch.bfloat16)),
    "bf16 weights": Loop(prepare=lambda network: network.bfloat16()),
    "compiled": Loop(prepare=_compile),
    "compiled part": Loop(prepare=_compile_part),
    "channels last": Loop(memory_format=torch.channels_last),
    "accumulated gradients": Loop(accumulated_steps=2),
    "checkpointing": Loop(network=_checkpointed),
    "frozen part": Loop(prepare=_freeze),
    "average": Loop(has_average=True),
}


def train(loop: Loop, recorder_of: Callable[..., Any] | None) -> dict[str, Any]:
    """The complete state after a few steps, with a recorder if there is one."""
    random.seed(1)
    np.random.seed(1)
    network = loop.prepare(loop.network().to(memory_format=loop.memory_format))
    torch.manual_seed(1)
    dtype = next(network.parameters()).dtype
    optimizer = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad], lr=0.1, momentum=0.9
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    losses = []
    with loop.casts():
        options = {"weights_from": lambda: average} if loop.has_average else {}
        recorder = recorder_of(network, **options) if recorder_of else None
        for epoch in range(EPOCHS):
            for step in range(STEPS):
                images = torch.rand(5, 3, 8, 8).to(dtype=dtype, memory_format=loop.memory_format)
                labels = torch.randint(0, 3, (5,))
                loss = nn.functional.cross_entropy(network(images).float(), labels)
                loss.backward()
                losses.append(loss.detach())
                if (step + 1) % loop.accumulated_steps == 0:
                    optimizer.step()
                    optimizer.zero_grad()
                    average.update_parameters(network)
            if recorder:
                recorder.step(loss=loss)
                assert recorder.epoch(train_loss=loss) == epoch
                assert network.training
    return {
        "weights": dict(network.state_dict()),
        "gradients": [None if p.grad is None else p.grad for p in network.parameters()],
        "optimizer": optimizer.state_dict(),
        "average": dict(average.state_dict()),
        "losses": losses,
        "random": [torch.get_rng_state(), random.getstate(), np.random.get_state()],
    }


def assert_equal_bits(left: Any, right: Any, path: str = "") -> None:
    assert type(left) is type(right), path
    if isinstance(left, Tensor):
        assert left.stride() == right.stride(), path
        left_bits, right_bits = (
            t.reshape(-1).contiguous().view(torch.uint8) for t in (left, right)
        )
        assert torch.equal(left_bits, right_bits), path
    elif isinstance(left, np.ndarray):
        assert (left == right).all(), path
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_equal_bits(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), path
        for position, pair in enumerate(zip(left, right, strict=True)):
            assert_equal_bits(*pair, f"{path}.{position}")
    else:
        assert left == right, path


@pytest.mark.parametrize("name", LOOPS)
def test_training_is_not_changed_by_one_bit(name: str, new_recorder: NewRecorder) -> None:
    alone = copy.deepcopy(train(LOOPS[name], None))
    assert_equal_bits(train(LOOPS[name], new_recorder), alone)


def test_comparison_detects_a_single_bit() -> None:
    left = {"weights": {"w": torch.zeros(3)}}
    right = {"weights": {"w": torch.tensor([0.0, 0.0, -0.0])}}
    with pytest.raises(AssertionError):
        assert_equal_bits(left, right)
