"""Small networks of other architectures than Table 1, and their copies made of plain modules."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from service.core.models import StagedNetwork
from service.core.models.stages import Convolution

CLASSES = 5


class Residual(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + x): a residual block as one stage."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, signal: Tensor) -> Tensor:
        inner = self.relu1(self.norm1(self.conv1(signal)))
        return self.relu2(self.norm2(self.conv2(inner)) + signal)


def residual(seed: int = 0, *, inplace: bool = False) -> StagedNetwork:
    """A small ResNet: stem, pooling, two residual blocks, global average pooling, linear."""
    with _seeded(seed):
        network = StagedNetwork(
            {
                "stem": Convolution(1, 6, 3, stride=2, padding=1),
                "block1": Residual(6),
                "shrink": nn.MaxPool2d(2),
                "block2": Residual(6),
                "pool": nn.AdaptiveAvgPool2d(1),
                "flatten": nn.Flatten(),
                "output": nn.Linear(6, CLASSES),
            }
        )
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # As if trained: each channel has a different shift and scale.
                for tensor in (module.running_mean, module.bias):
                    nn.init.normal_(tensor, std=0.3)
                for tensor in (module.running_var, module.weight):
                    nn.init.uniform_(tensor, 0.5, 1.5)
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
    return network.eval()


def vgg(seed: int = 0) -> StagedNetwork:
    """A small VGG: padded convolutions, two poolings, two hidden linear layers with dropout."""
    with _seeded(seed):
        network = StagedNetwork(
            {
                "conv1": Convolution(1, 4, 3, padding=1),
                "conv2": Convolution(4, 4, 3, padding=1),
                "pool1": nn.MaxPool2d(2),
                "conv3": Convolution(4, 8, 3, padding=1),
                "conv4": Convolution(8, 8, 3, padding=1),
                "pool2": nn.MaxPool2d(2),
                "flatten": nn.Flatten(),
                "hidden1": nn.Linear(8 * 7 * 7, 16),
                "activation1": nn.ReLU(),
                "dropout1": nn.Dropout(0.5),
                "hidden2": nn.Linear(16, 12),
                "activation2": nn.ReLU(),
                "output": nn.Linear(12, CLASSES),
            }
        )
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # With torch's default, activations shrink layer by layer, to the limits of float32.
                nn.init.kaiming_normal_(module.weight)
    return network.eval()


def plain(network: StagedNetwork) -> nn.Sequential:
    """A copy in which each Convolution is a Conv2d and a ReLU, as other libraries expect."""
    modules: list[nn.Module] = []
    for stage in copy.deepcopy(network):
        if isinstance(stage, Convolution):
            convolution = nn.Conv2d(
                stage.in_channels,
                stage.out_channels,
                stage.kernel_size,
                stage.stride,
                stage.padding,
            )
            convolution.to(stage.weight.dtype).load_state_dict(stage.state_dict())
            modules += [convolution, nn.ReLU()]
        else:
            modules.append(stage)
    return nn.Sequential(*modules).eval()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Asserts that the block leaves the network's state, flags, gradients and hooks unchanged."""
    initial_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    initial_flags = [parameter.requires_grad for parameter in network.parameters()]
    yield
    final_state = network.state_dict()
    assert initial_state.keys() == final_state.keys()
    assert all(torch.equal(initial_state[name], final_state[name]) for name in initial_state)
    assert initial_flags == [parameter.requires_grad for parameter in network.parameters()]
    assert all(parameter.grad is None for parameter in network.parameters())
    for module in network.modules():
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        ):
            assert not hooks


def close(ours: Tensor, theirs: Tensor, share: float = 1e-4) -> bool:
    """Whether maps (..., H, W) differ by at most `share` of each map's peak.

    Maps that are all 0 would prove nothing, so at least one must not be.
    """
    peaks = theirs.abs().amax((-2, -1), keepdim=True)
    return bool(peaks.max() > 0 and ((ours - theirs).abs() <= share * peaks).all())
