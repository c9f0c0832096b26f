"""Beyond the paper's block: a large network, methods of many passes, and a cold contact sheet.

ResNet-18 at 224 x 224 has all 1,000 classes explained at once here; the libraries, class by class,
are measured on some classes and stated per map. Its weights are random: time does not see that.
Score-CAM and Ablation-CAM are held against pytorch-grad-cam's own, per map.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import AblationCAM, ScoreCAM
from pytorch_grad_cam import GradCAM as PytorchGradCam
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchCam
from torchvision.models import resnet18

from benchmarks.report import Report
from benchmarks.timing import Contender, Target, Timing, interleaved, ratio, timed
from service.core.allocator import keep_freed_memory
from service.core.cams.maps import class_maps
from service.core.datasets import DATASETS
from service.core.images import from_png
from service.core.models import StagedNetwork
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.flows.maps.pictures import MapPictures, Rendering
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.networks import Networks
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import schema
from service.store.store import open_store

IMAGES, CLASSES = 8, 1000
THEIR_CLASSES = 4  # a round, so 20 in the five rounds
PAPER = ["conventional", "proposed"]
EPOCHS = 100


def run(rounds: int, quick: bool) -> Report:
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder:
        url = f"sqlite:///{folder}/camreel.db"
        epochs = 5 if quick else EPOCHS
        run_id = _recorded_run(url, epochs)
        contenders = _resnet(1 if quick else THEIR_CLASSES)
        contenders |= _perturbations()
        contenders |= {
            "reading and forwarding the checkpoints": timed(lambda: _forward_all(url, run_id)),
            "both contact sheets, cold": timed(lambda: _sheets(url, run_id)),
        }
        timings = interleaved(contenders, rounds)
    return Report(
        "methods",
        f"ResNet-18 at 224 x 224, {IMAGES} images, layer4, both of the paper's methods: all "
        f"{CLASSES:,} classes at once here, the libraries' time per class. Score-CAM and "
        "Ablation-CAM on Table 1, 10 images, 10 classes here, one class there: time per class. "
        f"Contact sheets of {epochs} epochs x 10 probes, both methods, from stored checkpoints.",
        list(timings.values()),
        _ratios(timings),
    )


def _ratios(timings: dict[str, Timing]) -> list:
    per_class = _scaled(timings["ResNet-18: Camreel, all classes"], 1 / CLASSES)
    sheets, reading = (
        timings["both contact sheets, cold"],
        timings["reading and forwarding the checkpoints"],
    )
    return [
        ratio(
            "ResNet-18: speed against the forward pass alone",
            timings["ResNet-18: forward pass alone"],
            timings["ResNet-18: Camreel, all classes"],
            Target(">=", 0.8),
        ),
        *(
            ratio(
                f"ResNet-18: maps per second against {name}",
                timings[f"ResNet-18: {name}, a class"],
                per_class,
            )
            for name in ("torch-cam", "captum", "pytorch-grad-cam")
        ),
        *(
            ratio(
                f"{name}: maps per second against pytorch-grad-cam",
                timings[f"{name}: pytorch-grad-cam, a class"],
                _scaled(timings[f"{name}: Camreel, ten classes"], 1 / 10),
                Target(">=", 3),
            )
            for name in ("Score-CAM", "Ablation-CAM")
        ),
        ratio("both sheets / reading and forwarding", sheets, reading, Target("<=", 2.5)),
    ]


def _scaled(timing: Timing, by: float) -> Timing:
    return Timing(timing.name, [seconds * by for seconds in timing.seconds])


def _per_class(work: Callable[[int], object], classes: int) -> Contender:
    measure = timed(lambda: [work(label) for label in range(classes)])
    return lambda: measure() / classes


def _resnet(their_classes: int) -> dict[str, Contender]:
    torch.manual_seed(0)
    network = _staged_resnet().requires_grad_(requires_grad=False)
    theirs = _staged_resnet()
    images = torch.rand(IMAGES, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    softmaxed = nn.Sequential(theirs, nn.Softmax(dim=1)).eval()

    def forward() -> None:
        with torch.no_grad():
            network(images)

    def torch_cam(label: int) -> None:
        with TorchCam(theirs, "layer4") as extractor:
            for score in (lambda units: units.softmax(1), lambda units: units):
                extractor(label, score(theirs(images)), normalized=False)

    def captum(label: int) -> None:
        for model in (theirs, softmaxed):
            LayerGradCam(model, theirs.layer4).attribute(images, target=label)

    def grad_cam(label: int) -> None:
        for model in (theirs, softmaxed):
            with PytorchGradCam(model, [theirs.layer4]) as extractor:
                extractor(images, [ClassifierOutputTarget(label)] * IMAGES)

    return {
        "ResNet-18: forward pass alone": timed(forward, 2.0),
        "ResNet-18: Camreel, all classes": timed(
            lambda: class_maps(network, images, "layer4", PAPER), 2.0
        ),
        "ResNet-18: torch-cam, a class": _per_class(torch_cam, their_classes),
        "ResNet-18: captum, a class": _per_class(captum, their_classes),
        "ResNet-18: pytorch-grad-cam, a class": _per_class(grad_cam, their_classes),
    }


def _staged_resnet() -> StagedNetwork:
    network = resnet18(weights=None)
    return (
        StagedNetwork(
            {
                "stem": nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool),
                "layer1": network.layer1,
                "layer2": network.layer2,
                "layer3": network.layer3,
                "layer4": network.layer4,
                "pool": network.avgpool,
                "flatten": nn.Flatten(),
                "output": network.fc,
            }
        )
        .eval()
        .to(memory_format=torch.channels_last)
    )


def _perturbations() -> dict[str, Contender]:
    source = DATASETS["digits"]
    torch.manual_seed(0)
    network = RunSpec().architecture.build(source.image_shape, 10).eval()
    network = network.to(memory_format=torch.channels_last)
    images = to_network_input(source.load(Path(), False).test.images[:10])
    targets = [ClassifierOutputTarget(3)] * len(images)
    contenders: dict[str, Contender] = {}
    for title, name, method in (
        ("Score-CAM", "score-cam", ScoreCAM),
        ("Ablation-CAM", "ablation-cam", AblationCAM),
    ):
        contenders[f"{title}: Camreel, ten classes"] = timed(
            lambda name=name: class_maps(network, images, "conv2", [name]), 0.5
        )
        contenders[f"{title}: pytorch-grad-cam, a class"] = timed(
            lambda method=method: _theirs(method, network, images, targets)
        )
    return contenders


def _theirs(method: type, network: StagedNetwork, images: Tensor, targets: list) -> np.ndarray:
    with method(network, [network.get_submodule("conv2")]) as extractor:
        return extractor(images, targets)


def _recorded_run(url: str, epochs: int) -> int:
    """A run of little training: what is drawn of it costs what any run's does."""
    spec = RunSpec(dataset="digits", epochs=epochs, samples_per_epoch=100)
    with open_store(url) as store:
        schema.ensure(store)
        return start_run(store, InlineExecutor(), Workspace(url, "sql", Path()), spec).id


def _forward_all(url: str, run_id: int) -> None:
    with open_store(url) as store:
        pipeline = MapPipeline(store, Path())
        queries = [MapQuery(run_id, "proposed")]
        (probes,), selection = pipeline.resolver.resolve_probe_series(queries, ":")
        images = to_network_input(torch.stack([from_png(series.image.png) for series in probes]))
        for epoch in selection.epochs:
            network = Networks(store).load(epoch)
            with torch.no_grad():
                network(images)


def _sheets(url: str, run_id: int) -> None:
    with open_store(url) as store:
        pictures = MapPictures(MapPipeline(store, Path()))
        for method in PAPER:
            pictures.sheet(MapQuery(run_id, method), "0:", Rendering(size=48)).compute()
