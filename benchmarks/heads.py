"""Heads of which nothing is known: every gradient is autograd's, here as in torch-cam.

Above `conv2` of Table 1 a closed form spares the backward pass, and above `conv1` a shortcut behind
one convolution does. Here neither applies: a residual network cut below its second block, and a
network of VGG's shape cut two convolutions before its end. What is left to gain is that one forward
pass and one batch of gradients serve all classes and both methods.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from benchmarks.maps import (
    CLASSES,
    IMAGES,
    LEAST_SECONDS,
    METHODS,
    TOLERANCE,
    compare,
    digits,
    ours,
    sizes,
    torch_cam,
    torch_cam_fastest,
)
from benchmarks.report import Report
from benchmarks.timing import Contender, Ratio, Timing, interleaved, ratio, timed
from service.core.allocator import keep_freed_memory
from service.core.cams.layer_pass import NetworkSplit
from service.core.models import StagedNetwork
from service.core.models.stages import Convolution


def run(rounds: int, quick: bool) -> Report:  # noqa: ARG001  it is little work already
    keep_freed_memory()
    images = digits()
    networks = {"residual": (residual, "block1"), "VGG": (vgg, "conv2")}
    contenders: dict[str, Contender] = {}
    for name, (build, layer) in networks.items():
        contenders |= _contenders(name, build, layer, images)
    timings = interleaved(contenders, rounds)
    return Report(
        "heads",
        f"{IMAGES * CLASSES * len(METHODS)} maps of a network: {IMAGES} images x {CLASSES} classes "
        f"x {len(METHODS)} methods, where the head has neither a closed form nor a shortcut. All "
        f"agree within {TOLERANCE:g} of a map's peak.",
        list(timings.values()),
        [contender for name in networks for contender in _ratios(timings, name)],
    )


def residual() -> StagedNetwork:
    """Two of ResNet's basic blocks, global average pooling, linear; cut between the blocks."""
    return StagedNetwork(
        {
            "stem": Convolution(1, 32, 3, stride=2, padding=1),
            "block1": BasicBlock(32, 32),
            "block2": BasicBlock(32, 32),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "output": nn.Linear(32, CLASSES),
        }
    )


def vgg() -> StagedNetwork:
    """Four padded convolutions, two poolings, a hidden layer; cut two convolutions from the end."""
    return StagedNetwork(
        {
            "conv1": Convolution(1, 16, 3, padding=1),
            "conv2": Convolution(16, 16, 3, padding=1),
            "pool1": nn.MaxPool2d(2),
            "conv3": Convolution(16, 32, 3, padding=1),
            "conv4": Convolution(32, 32, 3, padding=1),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "hidden": nn.Linear(32 * 7 * 7, 64),
            "activation": nn.ReLU(),
            "output": nn.Linear(64, CLASSES),
        }
    )


def _contenders(
    name: str, build: Callable[[], StagedNetwork], layer: str, images: Tensor
) -> dict[str, Contender]:
    viewed, theirs = _network(build), _network(build).requires_grad_()
    viewed.requires_grad_(requires_grad=False)  # as the service holds them
    if NetworkSplit.at(viewed, layer).head.backend.is_closed_form:
        raise SystemExit(f"{name}: the head has a closed form")
    expected, scale = ours(viewed, images, layer), sizes(viewed, images, layer)
    for peer in (torch_cam, torch_cam_fastest):
        compare(peer(theirs, images, layer), expected, scale, f"{name}: {peer.__name__}")

    def bare() -> None:
        with torch.no_grad():
            viewed(images)

    work = {
        "bare forward pass": bare,
        "Camreel": lambda: ours(viewed, images, layer),
        "torch-cam": lambda: torch_cam(theirs, images, layer),
        "torch-cam, graph kept": lambda: torch_cam_fastest(theirs, images, layer),
    }
    return {f"{name}: {contender}": timed(task, LEAST_SECONDS) for contender, task in work.items()}


def _network(build: Callable[[], StagedNetwork]) -> StagedNetwork:
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Torch's default lets a signal fade from layer to layer, until float32 is coarse.
            nn.init.kaiming_normal_(module.weight)
    return network.eval().to(memory_format=torch.channels_last)


def _ratios(timings: dict[str, Timing], name: str) -> list[Ratio]:
    own_timing = timings[f"{name}: Camreel"]
    return [
        ratio(f"{name}: speed against {contender}", timings[f"{name}: {contender}"], own_timing)
        for contender in ("bare forward pass", "torch-cam", "torch-cam, graph kept")
    ]
