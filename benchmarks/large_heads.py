"""Maps of large networks: all classes for little more than a forward pass, ten beside torch-cam.

Each is a program, as the service holds it, at its default layer. Beside torch-cam, the activations
and the graph of the head exist before the clock starts; only the gradients and maps of ten classes
count. Weights are random, images are 8 of 224 x 224 pixels.
"""

import time
from collections.abc import Callable, Iterator

import torch
import torchvision
from camreel.program import export_program
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchCam

from benchmarks.report import Report
from benchmarks.timing import Contender, Ratio, Target, Timing, interleaved, ratio, timed
from service.core.allocator import keep_freed_memory
from service.core.cams.layer_pass import LayerPass, NetworkSplit
from service.core.cams.maps import class_maps
from service.core.cams.methods import MethodSpec
from service.core.models.program_network import ProgramClassifier

IMAGES, QUICK_IMAGES = 8, 1
SIDE = 224
TEN_CLASSES = range(0, 1000, 100)
NETWORKS = ("resnet18", "convnext_tiny", "mobilenet_v3_small")
LAYERS = {"resnet18": "layer4", "convnext_tiny": "features", "mobilenet_v3_small": "features"}
TOLERANCE = 1e-5
LEAST_SECONDS = 0.5


def run(rounds: int, quick: bool) -> Report:
    keep_freed_memory()
    images = torch.rand(QUICK_IMAGES if quick else IMAGES, 3, SIDE, SIDE)
    contenders: dict[str, Contender] = {}
    for name in NETWORKS[:1] if quick else NETWORKS:
        contenders |= dict(_contenders(name, images))
    timings = interleaved(contenders, rounds)
    return Report(
        "large-heads",
        f"{len(images)} images. All maps agree with torch-cam's within {TOLERANCE:g} of a peak.",
        list(timings.values()),
        list(_ratios(timings)),
    )


def _contenders(name: str, images: Tensor) -> Iterator[tuple[str, Contender]]:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None).eval().requires_grad_(False)
    export = export_program(module, images[:1])
    network = ProgramClassifier(export.program, export.tensors(module))
    layer = LAYERS[name]
    _check_agreement(module, network, layer, images[:2])
    yield f"{name}: forward pass", timed(_without_graph(module, images), LEAST_SECONDS)
    yield (
        f"{name}: maps of 1,000 classes",
        timed(lambda: class_maps(network, images, layer, ["proposed"]), LEAST_SECONDS),
    )
    yield f"{name}: ten classes, ours", _ten_classes(network, layer, images)
    yield f"{name}: ten classes, torch-cam", _ten_classes_of_torch_cam(module, layer, images)


def _without_graph(module: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        with torch.no_grad():
            return module(images)

    return forward


def _ten_classes(network: ProgramClassifier, layer: str, images: Tensor) -> Contender:
    method = MethodSpec.parse("proposed")

    def prepare() -> LayerPass:
        layer_pass = NetworkSplit.at(network, layer).run(images)
        _ = layer_pass.pre_activations
        return layer_pass

    return _after(prepare, lambda layer_pass: method.compute(layer_pass, TEN_CLASSES))


def _ten_classes_of_torch_cam(module: nn.Module, layer: str, images: Tensor) -> Contender:
    def prepare() -> tuple[TorchCam, Tensor]:
        extractor = TorchCam(module, layer)
        return extractor, module(images.clone().requires_grad_())

    def explain(prepared: tuple[TorchCam, Tensor]) -> None:
        extractor, scores = prepared
        for class_index in TEN_CLASSES:
            extractor(class_index, scores, normalized=False, retain_graph=True)
        extractor.remove_hooks()

    return _after(prepare, explain)


def _after(prepare: Callable[[], object], work: Callable[..., object]) -> Contender:
    """A contender of which only the work counts, on what was prepared just before."""

    def measure() -> float:
        prepared = prepare()
        start = time.perf_counter()
        work(prepared)
        return time.perf_counter() - start

    return measure


def _check_agreement(
    module: nn.Module, network: ProgramClassifier, layer: str, images: Tensor
) -> None:
    ours = class_maps(network, images, layer, ["proposed"], [100]).signed["proposed"][:, 0]
    with TorchCam(module, layer) as extractor:
        (theirs,) = extractor(100, module(images.clone().requires_grad_()), normalized=False)
    error = (torch.from_numpy(ours).clamp(min=0) - theirs).abs().max() / theirs.abs().max()
    if not error <= TOLERANCE:
        raise AssertionError(f"the maps of {layer} differ by {error:g} of the peak")


def _ratios(timings: dict[str, Timing]) -> Iterator[Ratio]:
    names = dict.fromkeys(name.partition(":")[0] for name in timings)
    for name in names:
        share = Target(">=", 0.85) if name == "resnet18" else None
        yield ratio(
            f"{name}: forward pass / maps of 1,000 classes",
            timings[f"{name}: forward pass"],
            timings[f"{name}: maps of 1,000 classes"],
            share,
        )
        yield ratio(
            f"{name}: torch-cam / ours, ten classes",
            timings[f"{name}: ten classes, torch-cam"],
            timings[f"{name}: ten classes, ours"],
            Target(">=", 5),
        )
