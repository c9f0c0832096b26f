"""2,000 maps: 10 checkpoints x 10 images x 10 classes x 2 methods, on the Table-1 network.

The other libraries are used as their documentation does: a forward and a backward pass for each
class, all ten images in one batch. torch-cam is measured a second time at its fastest, with one
forward pass for all classes and both methods, whose graph it keeps by an undocumented argument. All
of them get the network in the memory format in which they are faster.

None of them is asked to normalise if its interface has a choice. pytorch-grad-cam has none: it also
resizes to the image's size.

Before the clock runs, every contender's maps are held against ours.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM as PytorchGradCam
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchCam

from benchmarks.report import Report
from benchmarks.timing import Contender, Target, interleaved, ratio, timed
from service.core import checkpoints
from service.core.allocator import keep_freed_memory
from service.core.cams.maps import class_maps
from service.core.checkpoints import CheckpointHeader
from service.core.datasets import DATASETS
from service.core.models import StagedNetwork
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec

CHECKPOINTS, QUICK_CHECKPOINTS = 10, 2
IMAGES, CLASSES = 10, 10
METHODS = ("conventional", "proposed")  # the score after softmax, the unit before it
LEAST_SECONDS = 0.5  # a turn of the fast ones is repeated for so long
TOLERANCE = 1e-4  # of a map's peak before its ReLU

Maps = npt.NDArray[np.float32]
ByMethod = dict[str, Maps]
"""Maps (N, C, H, W) by method, after their ReLU."""
Peer = Callable[[StagedNetwork, Tensor, str], dict[str, list[Maps]]]
"""Maps of a network for images at a layer: by method, and class by class (N, H, W)."""


def ours(network: StagedNetwork, images: Tensor, layer: str) -> ByMethod:
    maps = class_maps(network, images, layer, METHODS)
    return {method: np.maximum(signed, 0) for method, signed in maps.signed.items()}


def torch_cam(network: StagedNetwork, images: Tensor, layer: str) -> dict[str, list[Maps]]:
    maps: dict[str, list[Maps]] = {method: [] for method in METHODS}
    with TorchCam(network, layer) as extractor:
        for label in range(CLASSES):
            scores = network(images).softmax(1)
            maps["conventional"].append(_numpy(extractor(label, scores, normalized=False)[0]))
            units = network(images)
            maps["proposed"].append(_numpy(extractor(label, units, normalized=False)[0]))
    return maps


def torch_cam_fastest(network: StagedNetwork, images: Tensor, layer: str) -> dict[str, list[Maps]]:
    with TorchCam(network, layer) as extractor:
        units = network(images)
        scores = units.softmax(1)

        def of_class(output: Tensor, label: int) -> Maps:
            return _numpy(extractor(label, output, normalized=False, retain_graph=True)[0])

        return {
            "conventional": [of_class(scores, label) for label in range(CLASSES)],
            "proposed": [of_class(units, label) for label in range(CLASSES)],
        }


def captum(network: StagedNetwork, images: Tensor, layer: str) -> dict[str, list[Maps]]:
    def maps(model: nn.Module) -> list[Maps]:
        extractor = LayerGradCam(model, network.get_submodule(layer))
        return [
            _numpy(extractor.attribute(images, target=label, relu_attributions=True)[:, 0])
            for label in range(CLASSES)
        ]

    return {"conventional": maps(_with_softmax(network)), "proposed": maps(network)}


def pytorch_grad_cam(network: StagedNetwork, images: Tensor, layer: str) -> dict[str, list[Maps]]:
    def maps(model: nn.Module) -> list[Maps]:
        with PytorchGradCam(model, [network.get_submodule(layer)]) as extractor:
            return [
                extractor(images, [ClassifierOutputTarget(label)] * len(images))
                for label in range(CLASSES)
            ]

    return {"conventional": maps(_with_softmax(network)), "proposed": maps(network)}


def run(rounds: int, quick: bool) -> Report:
    # As the service does; every contender profits.
    keep_freed_memory()
    images = digits()
    data = [_checkpoint(seed) for seed in range(QUICK_CHECKPOINTS if quick else CHECKPOINTS)]
    viewed = [checkpoints.decode(checkpoint)[0] for checkpoint in data]  # as the service holds them
    peers = [
        _as_users_hold_it(checkpoint).to(memory_format=torch.channels_last) for checkpoint in data
    ]
    default = [_as_users_hold_it(checkpoint) for checkpoint in data]
    _check_agreement(viewed[0], peers[0], images)

    def each_checkpoint(
        networks: Sequence[StagedNetwork], work: Callable[[StagedNetwork], object]
    ) -> Contender:
        return timed(lambda: [work(network) for network in networks], LEAST_SECONDS)

    def peer(contender: Peer, layer: str = "conv2") -> Contender:
        return each_checkpoint(peers, lambda network: contender(network, images, layer))

    def bare(network: StagedNetwork) -> Tensor:
        with torch.no_grad():
            return network(images)

    timings = interleaved(
        {
            "bare forward pass": each_checkpoint(default, bare),
            "bare forward pass, channels last": each_checkpoint(viewed, bare),
            "Camreel": each_checkpoint(viewed, lambda network: ours(network, images, "conv2")),
            "torch-cam": peer(torch_cam),
            "torch-cam, graph kept": peer(torch_cam_fastest),
            "captum": peer(captum),
            "pytorch-grad-cam": peer(pytorch_grad_cam),
            "Camreel at conv1": each_checkpoint(
                viewed, lambda network: ours(network, images, "conv1")
            ),
            "torch-cam at conv1": peer(torch_cam, "conv1"),
            "torch-cam at conv1, graph kept": peer(torch_cam_fastest, "conv1"),
        },
        rounds,
    )
    forward = [timings["bare forward pass"], timings["bare forward pass, channels last"]]
    faster = min(forward, key=lambda timing: timing.median)
    at_conv2, at_conv1 = timings["Camreel"], timings["Camreel at conv1"]
    return Report(
        "maps",
        f"{len(data) * IMAGES * CLASSES * len(METHODS):,} maps: {len(data)} checkpoints x {IMAGES} "
        f"images x {CLASSES} classes x {len(METHODS)} methods, at conv2 unless another layer is "
        f"named. All agree within {TOLERANCE:g} of a map's peak.",
        list(timings.values()),
        [
            ratio("speed against the faster forward pass", faster, at_conv2, Target(">=", 0.85)),
            *(ratio(f"speed against: {timing.name}", timing, at_conv2) for timing in forward),
            ratio("speed against torch-cam", timings["torch-cam"], at_conv2, Target(">=", 25)),
            *(
                ratio(f"speed against {name}", timings[name], at_conv2)
                for name in ("torch-cam, graph kept", "captum", "pytorch-grad-cam")
            ),
            *(
                ratio(f"speed at conv1 against {name}", timings[name], at_conv1)
                for name in ("torch-cam at conv1", "torch-cam at conv1, graph kept")
            ),
        ],
    )


def digits() -> Tensor:
    """The first test image of each digit, of the embedded dataset."""
    test = DATASETS["digits"].load(Path(), False).test
    first = [int((test.labels == label).nonzero()[0, 0]) for label in range(CLASSES)]
    return to_network_input(test.images[first])


def _checkpoint(seed: int) -> bytes:
    source = DATASETS["digits"]
    architecture = RunSpec().architecture
    torch.manual_seed(seed)
    header = CheckpointHeader(architecture, 0, "digits", source.image_shape, source.class_names)
    return checkpoints.encode(architecture.build(source.image_shape, CLASSES), header)


def _as_users_hold_it(checkpoint: bytes) -> StagedNetwork:
    """The network in evaluation mode, with gradients for its weights, in torch's default format."""
    network, _ = checkpoints.decode(checkpoint)
    return network.to(memory_format=torch.contiguous_format).requires_grad_()


def _with_softmax(network: nn.Module) -> nn.Module:
    return nn.Sequential(network, nn.Softmax(dim=1)).eval()


def _numpy(maps: Tensor) -> Maps:
    return maps.detach().numpy()


def _check_agreement(viewed: StagedNetwork, network: StagedNetwork, images: Tensor) -> None:
    """Exit if a contender is fast by being wrong."""
    for layer in ("conv2", "conv1"):
        expected, scale = ours(viewed, images, layer), sizes(viewed, images, layer)
        for peer in (torch_cam, torch_cam_fastest, captum):
            name = f"{peer.__name__} at {layer}"
            compare(peer(network, images, layer), expected, scale, name)
    expected, scale = ours(viewed, images, "conv2"), sizes(viewed, images, "conv2")
    scaled = {method: _as_pytorch_grad_cam_scales(maps) for method, maps in expected.items()}
    # A map whose peak was small has its rounding errors scaled up with it.
    scale = {
        method: size / np.maximum(expected[method].max((-2, -1), keepdims=True), 1e-12)
        for method, size in scale.items()
    }
    compare(pytorch_grad_cam(network, images, "conv2"), scaled, scale, "pytorch_grad_cam")


def sizes(network: StagedNetwork, images: Tensor, layer: str) -> ByMethod:
    """The largest |value| of each map before its ReLU (N, C, 1, 1): what its errors scale with."""
    signed = class_maps(network, images, layer, METHODS).signed
    return {method: np.abs(maps).max((-2, -1), keepdims=True) for method, maps in signed.items()}


def compare(
    theirs: Mapping[str, Sequence[Maps]], expected: ByMethod, scale: ByMethod, name: str
) -> None:
    for method in METHODS:
        errors = np.abs(np.stack(theirs[method], axis=1) - expected[method])
        if not (errors <= TOLERANCE * scale[method]).all():
            raise SystemExit(f"{name} and Camreel disagree on the {method} maps")


def _as_pytorch_grad_cam_scales(maps: Maps) -> Maps:
    """Its own scaling: to 0..1, resized to the image, and once more to 0..1."""
    return np.stack([scale_cam_image(scale_cam_image(of_image, (28, 28))) for of_image in maps])
