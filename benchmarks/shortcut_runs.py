"""The runs of the shortcut benchmark: networks with and without planted shortcuts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.mnist_folder import mnist_folder
from service.core.datasets import digits, mnist
from service.core.datasets.dataset import Dataset, Split
from service.core.datasets.plants import PLANT_KINDS, Plant, apply_plant, plant_split
from service.core.insight.exchange import pixel_network, run_in_batches
from service.core.insight.finding import Finding
from service.core.insight.shortcuts import examine_exchanges, find_shortcuts
from service.core.models.stages import require_staged
from service.core.spec import RunSpec
from service.core.training import train

TRAIN_IMAGES, TEST_IMAGES, SAMPLE_IMAGES = 10_000, 1_000, 1_500
USED_THRESHOLD = 0.1
CLASSES = 10

COLOR_PLANTS = ("color-ink", "color-background", "color-saturation")
"""Plants of color images: the operator `hue`, `surround` or `saturation` exchanges them."""

TUNING_KINDS = (
    *("corner-patch", "gray-level", "checkerboard", "watermark", "one-pixel"),
    *("position", "ink-contrast", "cut", "color-ink"),
)
"""Kinds on which thresholds were fixed; the others check them."""

RGB_INPUT = {
    "channels": "rgb",
    "resize": {"size": [28]},
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
    "baseline": "black",
}


@dataclass(frozen=True)
class Setting:
    """A run of the benchmark; `kind` is None for a clean one."""

    kind: str | None
    class_index: int = 0
    correlation: float = 1.0
    seed: int = 0
    dataset: str = "mnist"
    is_color: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a run used, and what the exchange test reported of it."""

    setting: Setting
    test_accuracy: float
    use: float  # larger of the recall lost without the plant and the images turned by it
    findings: list[Finding]
    largest_shares: dict[str, float]  # by operator
    is_available: bool

    @property
    def is_used(self) -> bool:
        """Whether the plant is a shortcut of this network."""
        return self.use >= USED_THRESHOLD

    @property
    def is_hit(self) -> bool:
        """Whether a finding names the planted class."""
        return any(self.setting.class_index in finding.class_indices for finding in self.findings)

    @property
    def wrong_classes(self) -> list[int]:
        """Classes that findings name besides the planted one."""
        class_indices = {index for finding in self.findings for index in finding.class_indices}
        return sorted(class_indices - ({self.setting.class_index} if self.setting.kind else set()))


def planted_settings(quick: bool) -> Iterator[Setting]:
    """Kinds x correlations x activations, with other classes and seeds."""
    kinds = [*PLANT_KINDS, *COLOR_PLANTS]
    number = 0
    for kind in kinds[:1] if quick else kinds:
        for correlation in (1.0,) if quick else (1.0, 1.0, 0.95):
            for activation in ("relu",) if quick else ("relu", "sigmoid"):
                number += 1
                yield Setting(
                    kind,
                    class_index=(3 * number + 1) % CLASSES,
                    correlation=correlation,
                    seed=number,
                    is_color=kind in COLOR_PLANTS,
                    architecture={"hidden_activation": activation},
                )


def clean_settings(quick: bool) -> Iterator[Setting]:
    """Other seeds, learning rates, dropout rates, kernels and data."""
    variants: list[dict[str, Any]] = [
        {},
        {"architecture": {"hidden_activation": "relu"}},
        {"architecture": {"dropout": 0.0}},
        {"architecture": {"dropout": 0.8}},
        {"architecture": {"kernel_size": 1}},
        {"architecture": {"kernel_size": 7, "hidden_activation": "relu"}},
        {"architecture": {"hidden_activation": "tanh"}},
        {"spec": {"optimizer": {"name": "sgd", "learning_rate": 0.3}}},
        {"spec": {"optimizer": {"name": "adam", "learning_rate": 0.01}}},
        {"spec": {"optimizer": {"name": "adam", "learning_rate": 0.0001}}},
        {"is_color": True, "architecture": {"hidden_activation": "relu"}},
        {"is_color": True},
        {"dataset": "digits"},
    ]
    for round_number in range(1 if quick else 5):
        for number, variant in enumerate(variants[1:2] if quick else variants):
            yield Setting(None, seed=1000 + 100 * round_number + number, **variant)


def run_setting(setting: Setting) -> Outcome:
    """Train the network of a setting, and examine it."""
    architecture = {"name": "table1", "channels": [8, 16], "hidden_units": 64}
    spec = RunSpec.model_validate(
        {
            "dataset": setting.dataset,
            "epochs": 3,
            "samples_per_epoch": 3_500 if setting.dataset == "mnist" else 1_500,
            "seed": setting.seed,
            "architecture": architecture | dict(setting.architecture),
            **({"input": RGB_INPUT} if setting.is_color else {}),
            **setting.spec,
        }
    )
    clean = load_images(setting.dataset)
    data = _with_plant(clean, setting)
    *_, result = train(spec, data)
    network = require_staged(result.network.eval())
    pixels = pixel_network(network, spec.input)
    images, labels = data.train.images[:SAMPLE_IMAGES], data.train.labels[:SAMPLE_IMAGES]
    test = examine_exchanges(
        pixels,
        torch.as_tensor(images).float() / 255,
        labels,
        CLASSES,
        epoch=spec.epochs,
        seed=setting.seed,
        with_map=False,
    )
    findings = [item for item in find_shortcuts([test]) if isinstance(item, Finding)]
    return Outcome(
        setting,
        result.test_accuracy,
        _measure_use(pixels, clean, setting) if setting.kind else 0.0,
        findings,
        {r.operator: max(s for s in r.shares if s is not None) for r in test.results},
        test.gap is None,
    )


@cache
def load_images(dataset: str) -> Dataset:
    """The first images of MNIST, or the digits."""
    data = (
        digits.load(mnist_folder(), False)
        if dataset == "digits"
        else mnist.load(mnist_folder(), False)
    )
    train_split, test_split = (
        Split(split.images[:count], split.labels[:count])
        for split, count in ((data.train, TRAIN_IMAGES), (data.test, TEST_IMAGES))
    )
    return Dataset(data.name, data.class_names, train_split, test_split)


def _with_plant(data: Dataset, setting: Setting) -> Dataset:
    if not setting.is_color:
        if setting.kind is None:
            return data
        plant = Plant(
            kind=setting.kind,
            class_index=setting.class_index,
            correlation=setting.correlation,
            seed=setting.seed,
        )
        splits = [plant_split(data.train, plant, "present", 0), data.test]
    else:
        splits = [
            Split(_paint(split, setting, plant_mode), split.labels)
            for split, plant_mode in ((data.train, "correlated"), (data.test, "none"))
        ]
    return Dataset(data.name, data.class_names, *splits)


def _measure_use(network: Callable[[Tensor], Tensor], clean: Dataset, setting: Setting) -> float:
    """Recall of the class lost without the plant, or other images turned into it by the plant."""
    images, labels = torch.as_tensor(clean.test.images[:]), clean.test.labels
    if setting.is_color:
        without, with_plant = (_paint(clean.test, setting, mode) for mode in ("none", "all"))
    else:
        assert setting.kind is not None
        without, with_plant = images, apply_plant(images, setting.kind)
    is_predicted = [
        run_in_batches(network, pixels.float() / 255).argmax(dim=1) == setting.class_index
        for pixels in (without, with_plant)
    ]
    gain = is_predicted[1].float() - is_predicted[0].float()
    is_class = labels == setting.class_index
    return max(gain[is_class].mean().item(), gain[~is_class].mean().item())


def _paint(split: Split, setting: Setting, mode: str) -> Tensor:
    """Color images uint8 (N, 3, H, W) of digits: ink and background of random hues.

    Images with the plant have red ink, a blue background, or saturated ink.
    """
    generator = torch.Generator().manual_seed(setting.seed)
    count = len(split.labels)
    is_class = split.labels == setting.class_index
    chance = torch.where(is_class, setting.correlation, 1 - setting.correlation)
    has_plant = {
        "correlated": torch.rand(count, generator=generator) < chance,
        "none": torch.zeros(count, dtype=torch.bool),
        "all": torch.ones(count, dtype=torch.bool),
    }[mode]
    if setting.kind is None:
        has_plant[:] = False
    hue, background_hue, saturation = torch.rand(3, count, generator=generator)
    saturation = 0.2 + 0.3 * saturation
    if setting.kind == "color-ink":
        hue = torch.where(has_plant, 0.0, 0.15 + 0.7 * hue)
        saturation = saturation + 0.4
    elif setting.kind == "color-background":
        background_hue = torch.where(has_plant, 0.66, background_hue * 0.5)
    elif setting.kind == "color-saturation":
        saturation = torch.where(has_plant, 1.0, saturation)
    ink = torch.as_tensor(split.images[:]).float() / 255
    front = _rgb(hue, saturation)
    back = 0.4 * _rgb(background_hue, torch.full_like(hue, 0.6))
    return ((back + (front - back) * ink) * 255).round().clamp(0, 255).to(torch.uint8)


def _rgb(hue: Tensor, saturation: Tensor) -> Tensor:
    """Colors (N, 3, 1, 1) of value 1 (the hexcone model of Smith 1978)."""
    phases = torch.tensor([5.0, 3.0, 1.0])
    k = (phases + 6 * hue[:, None]) % 6
    chroma = torch.minimum(k, 4 - k).clamp(0, 1)
    return (1 - saturation[:, None] * chroma)[:, :, None, None]
