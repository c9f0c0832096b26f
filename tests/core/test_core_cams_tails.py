"""Gradients of what stands above a pooled value: in closed form, those of plain autograd."""

import pytest
import torch
from camreel.program import export_program
from torch import Tensor, nn

from service.core.cams.head_gradients import NeckBackend
from service.core.cams.layer_pass import NetworkSplit
from service.core.models.program_network import ProgramClassifier

CHANNELS, WIDTH, CLASSES = 6, 7, 5


class Flat(nn.Module):
    """The mean over positions as a vector, and a chain of modules on it."""

    def __init__(self, *tail: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.tail = nn.Sequential(*tail)

    def forward(self, images: Tensor) -> Tensor:
        return self.tail(self.pool(self.conv(images)).flatten(1))


class Spatial(Flat):
    """The chain on the mean as an image of one pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return self.tail(self.pool(self.conv(images))).flatten(1)


class Skipping(nn.Module):
    """A layer beside which its input passes: no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, signal: Tensor) -> Tensor:
        return signal + torch.tanh(self.linear(signal))


class ChannelsLast(nn.Module):
    """ConvNeXt's layer normalization of (N, K, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS, eps=1e-2)

    def forward(self, signal: Tensor) -> Tensor:
        return self.norm(signal.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def tail_of(name: str) -> nn.Module:
    output = nn.Linear(WIDTH, CLASSES)
    hidden = nn.Linear(CHANNELS, WIDTH)
    match name:
        case "hardswish":  # MobileNet-V3
            return Flat(hidden, nn.Hardswish(), nn.Dropout(), output)
        case "normalized":  # ConvNeXt
            return Spatial(ChannelsLast(), nn.Flatten(), nn.Linear(CHANNELS, CLASSES))
        case "plain normalization":
            norm = nn.LayerNorm(CHANNELS, elementwise_affine=False)
            return Flat(norm, hidden, nn.GELU(approximate="tanh"), output)
        case "convolution":  # MobileNet-V4
            conv = nn.Conv2d(CHANNELS, WIDTH, 1, bias=False)
            return Spatial(conv, nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Flatten(), output)
        case "elementwise at the end":
            return Flat(nn.Linear(CHANNELS, CLASSES), nn.Softplus(beta=2))
        case "skipping":
            return Flat(Skipping(), nn.Linear(CHANNELS, CLASSES))
        case "grouped normalization":
            return Spatial(nn.GroupNorm(2, CHANNELS), nn.Flatten(), nn.Linear(CHANNELS, CLASSES))
    raise AssertionError(name)


CHAINS = (
    "hardswish",
    "normalized",
    "plain normalization",
    "convolution",
    "elementwise at the end",
)
OTHERS = ("skipping", "grouped normalization")


@pytest.fixture(params=[*CHAINS, *OTHERS])
def tail_pass(request):
    """The name of a tail, and a pass through the network below it."""
    torch.manual_seed(1)
    module = tail_of(request.param).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    export = export_program(module, torch.rand(2, 3, 6, 6))
    network = ProgramClassifier(export.program, export.tensors(module))
    return request.param, NetworkSplit.at(network, "conv").run(torch.rand(4, 3, 6, 6))


def test_gradients_are_autograds(tail_pass):
    name, layer_pass = tail_pass
    assert isinstance(layer_pass.head.backend, NeckBackend)
    has_closed_form = layer_pass.head.split.neck.run_tail is not None
    assert has_closed_form == (name in CHAINS)
    activations = layer_pass.activations.detach().requires_grad_()
    outputs = layer_pass.evaluate_head(activations)
    assert torch.allclose(layer_pass.pre_activations, outputs)
    mixture = torch.randn(4, CLASSES, CLASSES)
    for jacobian in (None, mixture):
        scores = outputs if jacobian is None else torch.einsum("ncd,nd->nc", mixture, outputs)
        (gradients,) = layer_pass.gradients(jacobian, [4, 0, 4])
        weights = layer_pass.score_weights(jacobian, [4, 0, 4]).transpose(0, 1)
        for gradient, weight, label in zip(gradients, weights, [4, 0, 4], strict=True):
            (expected,) = torch.autograd.grad(
                scores[:, label].sum(), activations, retain_graph=True
            )
            peak = expected.abs().max()
            assert peak > 0
            assert (gradient - expected).abs().max() <= 1e-5 * peak
            assert (weight - expected.mean((2, 3))).abs().max() <= 1e-5 * peak


def test_products_do_not_depend_on_their_chunks(tail_pass, monkeypatch):
    _, layer_pass = tail_pass
    expected = layer_pass.score_weights(None, range(CLASSES))
    monkeypatch.setattr("camreel.program.chain.CHUNK_NUMBERS", 2 * 4 * WIDTH)
    assert torch.allclose(layer_pass.score_weights(None, range(CLASSES)), expected, atol=1e-6)
