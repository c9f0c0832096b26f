"""Every operator of the opset is exported and has the gradients of the module that calls it."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from camreel.program import ProgramNetwork, export_program
from camreel.program.opset import OPERATORS
from torch import nn

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Classifier(nn.Module):
    """A convolution with 6 channels at 6 x 6 positions, a function of them, a linear layer."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, 4)
        self.square = nn.Parameter(torch.randn(6, 6))
        self.function = function

    def forward(self, images):
        return self.fc(self.function(self, self.conv(images)).flatten(2).mean(2))


def _activations(module, signal):
    functions = (torch.tanh, torch.sigmoid, F.silu, F.mish, F.selu, F.hardswish, F.hardsigmoid)
    others = F.prelu(signal, module.fc.bias[0]), F.glu(torch.cat([signal, signal.relu()], 1), 1)
    return sum(function(signal) for function in functions) + sum(others)


def _elementwise(module, signal):
    functions = (torch.abs, torch.cos, torch.sin, torch.erf, torch.neg, torch.exp)
    positive = signal.abs() + 1
    roots = positive.sqrt() + positive.rsqrt() + positive.log() + positive.log1p()
    powers = signal**2 + 2**signal + positive.reciprocal()
    total = sum(function(signal) for function in functions) + roots + powers
    return torch.addcmul(total, signal, positive, value=0.5)


def _comparisons(module, signal):
    masks = (signal.eq(0), signal.ne(1), signal < 0.5, signal <= 1, signal > 0, signal >= -1)
    clipped = torch.maximum(signal, 0.1 * signal).minimum(signal + 0.3).clamp(-2, 2)
    chosen = clipped.masked_fill(torch.logical_not(masks[4]), 0.5)
    return chosen * sum(mask.float() for mask in masks) + torch.where(masks[0], 1.0, signal)


def _reductions(module, signal):
    lowest = signal.amin(1, True) + signal.min(1, True).values
    highest = signal.amax(2, True) + signal.max(2, True).values
    spread = signal.std((2, 3), keepdim=True) + signal.var(1, keepdim=True)
    return signal * spread + lowest + highest + signal.sum((1, 2), True) + signal.mean(3, True)


def _norms(module, signal):
    normalized = F.layer_norm(signal, (6,)) + F.rms_norm(signal, (6,)) + F.normalize(signal)
    statistics = module.fc.bias.detach().new_zeros(6), module.fc.bias.detach().new_ones(6)
    return normalized + F.batch_norm(F.group_norm(F.instance_norm(signal), 2), *statistics)


def _poolings(module, signal):
    pooled = F.max_pool2d(signal, 2) + F.avg_pool2d(signal, 2)
    adaptive = F.adaptive_max_pool2d(signal, 3) + F.adaptive_avg_pool2d(signal, 3)
    lines = F.adaptive_avg_pool1d(signal.flatten(2), 9).unflatten(2, (3, 3))
    return pooled + adaptive + lines


def _moves(module, signal):
    shuffled = F.pixel_shuffle(F.pixel_unshuffle(signal, 2), 2).flip(3).roll((1, 2), (2, 3))
    rows = torch.tensor([5, 4, 3, 2, 1, 0])
    chosen = signal.index_select(1, rows) + signal[:, rows] + F.channel_shuffle(signal, 3)
    scattered = torch.select_scatter(signal, 2 * signal[:, 0], 1, 2)
    scattered = torch.slice_scatter(scattered, 3 * signal[:, :2], 1, 1, 3)
    repeated = F.pad(signal, (1, 1, 1, 1)).repeat(1, 1, 2, 1)[:, :, :6, :6]
    stacked = torch.stack([chosen, scattered], 1).permute(1, 0, 2, 3, 4)[0]
    return shuffled + repeated + stacked.transpose(2, 3) + F.interpolate(signal, size=6)


def _products(module, signal):
    square, lines = module.square, signal.flatten(2)
    rows = torch.addmm(lines[:, :, 0], lines[:, :, 1], square)
    scores = torch.baddbmm(lines, lines @ lines.transpose(1, 2), lines)
    attention = F.scaled_dot_product_attention(lines, lines, lines)
    summed = torch.einsum("ncp,cd->ndp", lines, square)
    positions = F.embedding(torch.tensor([3, 2, 1, 0, 0, 1]), module.fc.weight)
    return (scores + attention + summed).unflatten(2, (6, 6)) + rows[:, :, None, None] + positions


def _convolutions(module, signal):
    square = module.square
    norms = square.norm(dim=1, keepdim=True)
    weight = torch._weight_norm(square, norms, 0)[:, :, None, None]
    widened = F.conv_transpose2d(signal, weight.expand(6, 6, 2, 2), stride=2)
    lines = F.conv1d(signal.flatten(2), square[:, :, None]).unflatten(2, (6, 6))
    return F.conv2d(widened, weight, stride=2) + lines


def _rest(module, signal):
    eased = F.leaky_relu(F.elu(F.softplus(F.gelu(signal)))) + F.hardtanh(signal)
    chances = signal.softmax(1) + F.log_softmax(signal, 1) + F.relu(signal)
    return (eased + chances) * signal.detach().double().float() / (2 - signal.tanh())


FUNCTIONS = {
    function.__name__[1:]: function
    for function in (
        *(_activations, _elementwise, _comparisons, _reductions, _norms, _poolings),
        *(_moves, _products, _convolutions, _rest),
    )
}


@cache
def exported(name):
    module = Classifier(FUNCTIONS[name])
    return module, export_program(module, IMAGES[:1])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operators_have_the_gradients_of_the_module(name):
    module, export = exported(name)
    assert export.program.batch == "dynamic"
    network = ProgramNetwork(export.program, export.tensors(module))
    weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    gradients = []
    for function in (network, module):
        pixels = IMAGES.clone().requires_grad_()
        gradients.append(torch.autograd.grad((function(pixels) * weights).sum(), pixels)[0])
    assert gradients[1].any()
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_all_operators_are_tested():
    programs = [exported(name)[1].program for name in FUNCTIONS]
    assert {step.operator for program in programs for step in program.steps} == set(OPERATORS)
