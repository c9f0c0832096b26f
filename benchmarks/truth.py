"""Maps where the answer is known: the share of each method's map in the quarter of its class.

Mosaics of four photos, explained for the class of each, and digits among blocks without
information. `python -m benchmarks truth` writes docs/methods/truth.json and truth.md; with --quick,
it writes nothing. The results are deterministic, so that there are no rounds.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.report import Figure, Report
from benchmarks.timing import Target
from service.core.cams.layers import resolve_layers
from service.core.cams.maps import class_maps
from service.core.cams.method import AttributionLevel, Cost
from service.core.cams.methods import METHODS, RECOMMENDED, MethodSpec
from service.core.datasets import DATASETS
from service.core.datasets.block_digits import block_dataset
from service.core.datasets.dataset import Dataset, Split
from service.core.input import InputSpec, unnormalized_input
from service.core.measures.quarters import UNIFORM_SHARE, quarter_shares
from service.core.measures.resampling import layer_placement, resample_to_pixels
from service.core.models import Layers, describe_layers
from service.core.models.network import Network
from service.core.models.program_network import ProgramClassifier, describe_program, export_once
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.core.training import train
from service.errors import InvalidValue

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
MIDDLE_LAYER = "_blocks.10"  # of EfficientNet-Lite0: 20 x 20 positions
MEASURED_TARGET = "centered"
"""Measured beside each method's default target."""

MOSAIC_VARIANTS = {
    # As many passes as an image of this size can bear.
    "occlusion": "occlusion?window=64&stride=32",
    "lime": "lime?patch=32",
}
TRAINING_DIGITS, EPOCHS = 20_000, 3
DIGITS = 200
MARGIN = 0.05
"""By how much the recommended method must exceed the controls."""


@dataclass(frozen=True)
class Task:
    """Images of which the quarter of each explained class is known."""

    title: str
    network: Network
    layers: Layers
    images: Tensor  # float32 (N, D, h, w)
    classes: Tensor  # int64 (N, c), those of an image in ascending order
    quarters: Tensor  # int64 (N, c), of each of the classes
    input_spec: InputSpec
    layer: str | None = None  # None: each method's default
    counts: dict[str, int] = field(default_factory=dict)  # images by method, or else cost
    variants: dict[str, str] = field(default_factory=dict)  # texts of methods with parameters
    omitted: frozenset[str] = frozenset()  # names of methods


@dataclass(frozen=True)
class Shares:
    """A method's shares in the right quarter, or why it has none."""

    method: str
    values: list[float]
    blank: int = 0
    reason: str = ""


def run(rounds: int, quick: bool) -> Report:  # noqa: ARG001  deterministic
    tasks = list(_tasks(quick))
    results: dict[str, list[Shares]] = {}
    for task in tasks:
        results[task.title] = []
        for text in _texts(task, quick):
            start = time.perf_counter()
            shares = explain(task, text)
            results[task.title].append(shares)
            seconds = time.perf_counter() - start
            print(f"  {task.title}: {text}, {seconds:.0f} s", file=sys.stderr, flush=True)
            if not quick:
                _write(results)
    return Report(
        "truth",
        "Share of the positive map in the quarter of the explained class. A map that is the same "
        f"everywhere has {UNIFORM_SHARE:g}.",
        [],
        [],
        list(_figures(results)),
    )


def explain(task: Task, text: str) -> Shares:
    """The shares of one method on the images of a task, at the task's layer."""
    method = MethodSpec.parse(text).method
    count = task.counts.get(method.name, task.counts.get(method.cost, len(task.images)))
    images, classes, quarters = (
        tensor[:count] for tensor in (task.images, task.classes, task.quarters)
    )
    try:
        layer = resolve_layers(method, task.layer, task.layers)
        maps = _maps_on_pixels(task, text, layer, images, classes)
    except InvalidValue as error:
        return Shares(text, [], reason=error.message)
    shares = quarter_shares(maps, quarters.flatten())
    blank = int((maps.amax((1, 2)) <= 0).sum())
    return Shares(text, [round(share, 4) for share in shares.tolist()], blank)


def _maps_on_pixels(task: Task, text: str, layer: str, images: Tensor, classes: Tensor) -> Tensor:
    """Positive maps (N c, h, w), as they are drawn. Images of the same classes share passes."""
    size = (images.shape[2], images.shape[3])
    placement = layer_placement(task.network, layer, images[:1])
    maps = images.new_zeros(*classes.shape, *size)
    for group in torch.unique(classes, dim=0):
        rows = (classes == group).all(1).nonzero().squeeze(1)
        result = class_maps(
            task.network, images[rows], layer, [text], group.tolist(), input_spec=task.input_spec
        )
        positive = torch.from_numpy(result.signed[text]).clamp(min=0)
        upsampled = resample_to_pixels(positive.flatten(0, 1), size, placement)
        maps[rows] = upsampled.view(*positive.shape[:2], *size)
    return maps.flatten(0, 1)


def _texts(task: Task, quick: bool) -> list[str]:
    """Every method with its default target; those of few passes also with MEASURED_TARGET."""
    texts = []
    for name, method in METHODS.items():
        if name in task.omitted or (quick and method.cost is Cost.PERTURBATIONS):
            continue
        text = task.variants.get(name, name)
        texts.append(text)
        if MEASURED_TARGET in method.targets[1:] and method.cost is not Cost.PERTURBATIONS:
            texts.append(f"{name}/{MEASURED_TARGET}")
    return texts


def _tasks(quick: bool) -> Iterator[Task]:
    yield digits_task(
        Path(os.environ.get("CAMREEL_DATA_DIR", "data")),
        training_digits=500 if quick else TRAINING_DIGITS,
        epochs=1 if quick else EPOCHS,
        count=20 if quick else DIGITS,
    )
    try:
        from benchmarks.mosaics import ARRANGEMENTS
    except ImportError as error:
        print(f"  no mosaics: {error}; see scripts/photo_figures.py", file=sys.stderr)
        return
    yield from mosaic_tasks(ARRANGEMENTS[:1] if quick else ARRANGEMENTS)


def digits_task(data_dir: Path, training_digits: int, epochs: int, count: int) -> Task:
    """Test digits among null blocks, with a Table 1 network trained on such images by a fixed seed.

    The digits are MNIST's. Raises DatasetUnavailable.
    """
    mnist = DATASETS["mnist"].load(data_dir, False)
    digits = Dataset(
        mnist.name,
        mnist.class_names,
        Split(mnist.train.images[:training_digits], mnist.train.labels[:training_digits]),
        Split(mnist.test.images[:count], mnist.test.labels[:count]),
    )
    data, quarters = block_dataset(digits, seed=0)
    side = data.test.images.shape[-1]
    spec = RunSpec.model_validate(
        {
            "input": unnormalized_input("gray", side, side).model_dump(mode="json"),
            "architecture": {
                "channels": [8, 16],
                "hidden_units": 64,
                "dropout": 0,
                "hidden_activation": "relu",
            },
            "optimizer": {"name": "adam", "learning_rate": 1e-3},
            "epochs": epochs,
            "samples_per_epoch": training_digits,
            "batch_size": 50,
        }
    )
    *_, last = train(spec, data)
    print(f"  test accuracy {last.test_accuracy:.3f}", file=sys.stderr)
    network = last.network.eval()
    return Task(
        title="digits",
        network=network,
        layers=describe_layers(spec.architecture, spec.source.image_shape, 10),
        images=to_network_input(data.test.images, spec.input),
        classes=data.test.labels.unsqueeze(1),
        quarters=quarters.unsqueeze(1),
        input_spec=spec.input,
        # Kernel PCA decomposes a matrix of 2,704 x 2,704 positions for each image.
        counts={Cost.PERTURBATIONS: 40, "kpca-cam": 4},
    )


def mosaic_tasks(arrangements: Sequence[tuple[int, ...]]) -> Iterator[Task]:
    """Mosaics of photos at the last layer of EfficientNet-Lite0, and at one in its middle."""
    from benchmarks.mosaics import CLASSES, LATIN_SQUARE, MOSAIC_INPUT, photo_mosaics
    from scripts.photo_figures import load_network

    mosaics, quarters = photo_mosaics(arrangements)
    module = load_network()
    export = export_once(module, MOSAIC_INPUT.image_shape)
    network = ProgramClassifier(export.program, export.tensors(module))
    last_layer = Task(
        title="mosaics",
        network=network,
        layers=describe_program(export.program),
        images=to_network_input(mosaics, MOSAIC_INPUT),
        classes=torch.tensor(CLASSES).expand(len(mosaics), -1),
        quarters=quarters,
        input_spec=MOSAIC_INPUT,
        # A forward pass for each of 1,280 channels: seconds a map.
        counts={
            Cost.SAMPLES: len(LATIN_SQUARE),
            Cost.PERTURBATIONS: len(LATIN_SQUARE),
            "layer-integrated-gradients": len(mosaics),
            "score-cam": 1,
        },
        variants=MOSAIC_VARIANTS,
        omitted=frozenset({"ss-cam", "is-cam"}),
    )
    yield last_layer
    yield replace(
        last_layer,
        title="mosaics, middle layer",
        layer=MIDDLE_LAYER,
        counts=dict.fromkeys(Cost, len(LATIN_SQUARE)),
        omitted=frozenset(
            name
            for name, method in METHODS.items()
            if method.attribution_level is not AttributionLevel.LAYER
            or method.cost is Cost.PERTURBATIONS
        ),
    )


def _figures(results: dict[str, list[Shares]]) -> Iterator[Figure]:
    for title, rows in results.items():
        for row in rows:
            if row.values:
                is_recommended = row.method == RECOMMENDED
                target = Target(">=", UNIFORM_SHARE + MARGIN) if is_recommended else None
                yield Figure(f"{title}: {row.method}", "share", row.values, target)


def _write(results: dict[str, list[Shares]]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    values = {
        title: {row.method: {key: value for key, value in asdict(row).items() if key != "method"}
                for row in rows}
        for title, rows in results.items()
    }  # fmt: skip
    (FOLDER / "truth.json").write_text(json.dumps(values) + "\n")
    (FOLDER / "truth.md").write_text(_markdown(results))


def _markdown(results: dict[str, list[Shares]]) -> str:
    rows = {row.method.partition("?")[0]: {} for shares in results.values() for row in shares}
    for title, shares in results.items():
        for row in shares:
            rows[row.method.partition("?")[0]][title] = _cell(row)
    head = ["method", *results]
    lines = [
        "Share of the positive map in the quarter of the explained class: mean, in brackets the "
        f"quartiles, and the number of maps. Uniform maps have {UNIFORM_SHARE:g}; blank maps count "
        "as 0, and their number follows.",
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * len(results) + "|",
    ]
    order = {name: position for position, name in enumerate(METHODS)}
    for text in sorted(rows, key=lambda text: (order[text.partition("/")[0]], text)):
        cells = (rows[text].get(title, "") for title in results)
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Shares) -> str:
    if not row.values:
        return "does not apply"
    low, _, high = statistics.quantiles(row.values, n=4, method="inclusive")
    blank = f", {row.blank} blank" if row.blank else ""
    parameters = row.method.partition("?")[2].replace("&", ", ")
    note = f"; {parameters}" if parameters else ""
    mean = statistics.mean(row.values)
    return f"{mean:.2f} ({low:.2f}, {high:.2f}), {len(row.values)}{blank}{note}"
