"""Any network: programs of 14 networks of torchvision and 7 of timm, compared with the modules.

Each network is exported and cut at three of its layers: the gradients of the head are compared with
plain autograd on the module, batches of one and five. captum and torch-cam are compared where they
differ: at layers before an in-place call, and at modules that are called twice. Weights are random.
"""

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from camreel.program import Export, Layer, Program, ProgramNetwork, export_program, find_layers
from camreel.program.shapes import check_shapes
from captum.attr import LayerGradCam
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchCam

from benchmarks.report import Figure, Report
from benchmarks.timing import Contender, Ratio, Target, Timing, interleaved, ratio, timed

TORCHVISION = {
    **dict.fromkeys(("resnet18", "resnet50", "vgg11_bn", "mobilenet_v3_small"), 64),
    **dict.fromkeys(("efficientnet_b0", "convnext_tiny", "densenet121", "googlenet"), 64),
    **dict.fromkeys(("regnet_y_400mf", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_t"), 64),
    "inception_v3": 299,
    "vit_b_16": 224,
}
"""Sides of images in pixels, small where the networks allow."""

TIMM = {
    **dict.fromkeys(("convnextv2_atto", "mobilenetv4_conv_small", "efficientnet_lite0"), 64),
    **dict.fromkeys(("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"), 224),
    **dict.fromkeys(("mixer_s32_224", "efficientformer_l1"), 224),
}
QUICK = ("resnet18", "squeezenet1_1")
PEER_LAYERS = ("layer2.0.bn2", "layer3.1.bn1", "layer4.1.relu")
"""Of resnet18: two before an in-place call, one that is called twice."""
BATCHES = (1, 5)
LOADED = ("resnet18", "resnet50")
TOLERANCE = Target("<=", 1e-5)
LOADING_MILLISECONDS = Target("<=", 50)
LOADING_RATIO = Target("<=", 1.3)


def run(rounds: int, quick: bool) -> Report:
    names = [name for name in _builders() if not quick or name in QUICK]
    figures = [figure for name in names for figure in _network_figures(name)]
    if not quick:
        figures += _peer_figures()
    timings, ratios, milliseconds = _loading(rounds, LOADED[:1] if quick else LOADED)
    return Report(
        "programs",
        "Difference of the gradients by three layers from plain autograd on the module, batches of "
        "1 and 5, as a share of their peak. Loading: hash, read, parse, prepare; without the hash, "
        "the weights are mapped into memory.",
        timings,
        ratios,
        [*figures, *milliseconds],
    )


def _builders() -> dict[str, Callable[[], nn.Module]]:
    import timm  # takes seconds

    options: dict[str, dict[str, Any]] = {
        "googlenet": {"init_weights": False},
        "inception_v3": {"init_weights": False},
    }
    builders: dict[str, Callable[[], nn.Module]] = {
        name: lambda name=name: torchvision.models.get_model(
            name, weights=None, **options.get(name, {})
        )
        for name in TORCHVISION
    }
    return builders | {name: lambda name=name: timm.create_model(name) for name in TIMM}


def _build(name: str) -> nn.Module:
    """A network in evaluation mode, its statistics and head far from their initial values."""
    torch.manual_seed(0)
    module = _builders()[name]()
    for parameter in module.parameters():
        if parameter.ndim == 1 or not parameter.any():
            nn.init.normal_(parameter, 0.5, 0.3)
    with torch.no_grad():
        module(_images(name, 4))
    return module.eval()


def _images(name: str, count: int) -> Tensor:
    side = (TORCHVISION | TIMM)[name]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))


def _network_figures(name: str) -> Iterator[Figure]:
    module = _build(name)
    start = time.process_time()
    export = export_program(module, _images(name, 1))
    seconds = time.process_time() - start
    network = ProgramNetwork(export.program, export.tensors(module))
    layers = _three_layers(export, module)
    errors = [
        _gradient_error(module, network, layer, _images(name, count))
        for layer in layers
        for count in BATCHES
    ]
    start = time.process_time()
    check_shapes(export.program)
    dry_run = time.process_time() - start
    yield Figure(f"{name}: gradients", "of the peak", [max(errors)], TOLERANCE)
    yield Figure(f"{name}: steps", "", [len(export.program.steps)])
    yield Figure(f"{name}: program", "kB", [len(export.program.to_json()) / 1e3])
    yield Figure(f"{name}: export", "s of CPU", [seconds])
    yield Figure(f"{name}: check of shapes", "s of CPU", [dry_run])


def _three_layers(export: Export, module: nn.Module) -> list[Layer]:
    """Layers at a quarter and a half of the network, and the default one.

    Only layers of modules that are called once: hooks on others observe several values.
    """
    program = export.program
    repeated = {call.name.partition("@")[0] for call in program.modules if "@" in call.name}
    submodules = dict(module.named_modules())
    layers = [
        layer
        for layer in find_layers(program)
        if any(name in submodules and name not in repeated for name in (layer.name, *layer.aliases))
    ]
    (default,) = (layer for layer in layers if layer.name == program.default_layer)
    return [layers[len(layers) // 4], layers[len(layers) // 2], default]


def _gradient_error(
    module: nn.Module, network: ProgramNetwork, layer: Layer, images: Tensor
) -> float:
    """Greatest difference of activations, logits and gradients, as a share of the peak of each."""
    repeated = {call.name.partition("@")[0] for call in network.program.modules if "@" in call.name}
    submodules = dict(module.named_modules())
    names = (layer.name, *layer.aliases)
    name = next(name for name in names if name in submodules and name not in repeated)
    with _cloned_output(submodules[name]) as outputs:
        logits = module(images)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    (gradients,) = torch.autograd.grad((logits * weights).sum(), outputs[0])

    split = network.split(layer.value)
    with torch.no_grad():
        activations, live = split.below(images)
    activations.requires_grad_()
    pre_activations = split.head(activations, live)
    (head_gradients,) = torch.autograd.grad((pre_activations * weights).sum(), activations)
    return max(
        _relative_difference(activations.detach(), outputs[0].detach()),
        _relative_difference(pre_activations.detach(), logits.detach()),
        _relative_difference(head_gradients, gradients),
    )


@contextmanager
def _cloned_output(module: nn.Module) -> Iterator[list[Tensor]]:
    """The module's output, cloned on both sides, so that in-place calls do not change it."""
    outputs: list[Tensor] = []

    def capture(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        outputs.append(output.clone().requires_grad_())
        return outputs[-1].clone()

    handle = module.register_forward_hook(capture)
    yield outputs
    handle.remove()


def _relative_difference(actual: Tensor, expected: Tensor) -> float:
    peak, difference = expected.abs().max(), (actual - expected).abs().max()
    if not (0 < peak < math.inf and difference < math.inf):
        raise SystemExit(f"a peak of {peak} and a difference of {difference} compare nothing")
    return float(difference / peak)


# Peers


def _peer_figures() -> Iterator[Figure]:
    """How far captum's and torch-cam's Grad-CAM maps are from those of the program."""
    module = _build("resnet18")
    images = _images("resnet18", 1)
    export = export_program(module, images)
    network = ProgramNetwork(export.program, export.tensors(module))
    for name in PEER_LAYERS:
        expected = _grad_cam(network, name, images)
        submodule = module.get_submodule(name)
        captum = LayerGradCam(module, submodule).attribute(images, target=0, relu_attributions=True)
        with TorchCam(module, target_layer=submodule, enable_hooks=True) as extractor:
            scores = module(images)
            (torch_cam,) = extractor([0], scores, normalized=False)
        yield Figure(
            f"resnet18 {name}: captum",
            "of the peak",
            [_relative_difference(captum[0, 0], expected)],
        )
        yield Figure(
            f"resnet18 {name}: torch-cam",
            "of the peak",
            [_relative_difference(torch_cam[0], expected)],
        )


def _grad_cam(network: ProgramNetwork, name: str, images: Tensor) -> Tensor:
    """The map (H, W) of the first class."""
    (layer,) = (
        layer for layer in find_layers(network.program) if name in (layer.name, *layer.aliases)
    )
    split = network.split(layer.value)
    with torch.no_grad():
        activations, live = split.below(images)
    activations.requires_grad_()
    (gradients,) = torch.autograd.grad(split.head(activations, live)[0, 0], activations)
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * activations).sum(1)[0].clamp(min=0).detach()


# Loading


def _loading(rounds: int, names: tuple[str, ...]) -> tuple[list[Timing], list[Ratio], list[Figure]]:
    with tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder:
        contenders: dict[str, Contender] = {}
        for name in names:
            contenders |= _loaders(name, Path(folder))
        timings = interleaved(contenders, rounds)
    ratios = [
        ratio(
            f"{name}: loading, to hash and read",
            timings[f"{name}: loading"],
            timings[f"{name}: hash and read"],
            LOADING_RATIO,
        )
        for name in names
    ]
    unhashed = timings["resnet18: loading without the hash"]
    milliseconds = [
        Figure(
            unhashed.name,
            "ms",
            [1e3 * seconds for seconds in unhashed.seconds],
            LOADING_MILLISECONDS,
        )
    ]
    return list(timings.values()), ratios, milliseconds


def _loaders(name: str, folder: Path) -> dict[str, Contender]:
    module = _build(name)
    export = export_program(module, _images(name, 1))
    program_file, weights_file = folder / f"{name}.json", folder / f"{name}.safetensors"
    program_file.write_bytes(export.program.to_json())
    save_file({n: t.contiguous() for n, t in export.tensors(module).items()}, weights_file)

    def hash_and_read() -> bytes:
        content = weights_file.read_bytes()
        hashlib.sha256(content).digest()
        return content

    def load_network(load_tensors: Callable[[], dict[str, Tensor]]) -> ProgramNetwork:
        return ProgramNetwork(Program.from_json(program_file.read_bytes()), load_tensors())

    return {
        f"{name}: hash and read": timed(hash_and_read, 0.2),
        f"{name}: loading": timed(lambda: load_network(lambda: load(hash_and_read())), 0.2),
        f"{name}: loading without the hash": timed(
            lambda: load_network(lambda: load_file(weights_file)), 0.2
        ),
    }
