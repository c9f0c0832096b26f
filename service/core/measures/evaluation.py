"""Evaluation of methods by measures, each compared with random maps."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.input import InputSpec
from service.core.measures.explainer import Explainer
from service.core.measures.measure import EvaluationBatch, Measure, images_per_pass, split_together
from service.core.measures.measures import get_measure
from service.core.models import StagedNetwork
from service.core.models.network import INPUT, Network
from service.core.preprocessing import to_network_input
from service.core.progress import progress_slice, track

RANDOM_MAPS = 3
EXPLAINING_SHARE = 0.5
"""Share of a method's progress for its maps; the rest is for the measures."""

Values = npt.NDArray[np.float64]  # (N,)


@dataclass(frozen=True)
class Mean:
    """Mean over images and its standard error, deviation / sqrt(N); None for a single image.

    Both are NaN where a value is.
    """

    mean: float
    standard_error: float | None

    @classmethod
    def of_values(cls, values: Values) -> "Mean":
        """The mean of at least one value."""
        count = len(values)
        error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else None
        return cls(float(values.mean()), error)


@dataclass(frozen=True)
class MeasureResult:
    """One method by one measure. `difference` is the mean of each image's value minus random's."""

    method: str
    layer: str
    measure: Measure
    count: int
    value: Mean
    random: Mean
    difference: Mean

    @classmethod
    def of_values(
        cls, method: Explainer, measure: Measure, values: Values, random: Values
    ) -> "MeasureResult":
        """From the values of each image (N,)."""
        means = (Mean.of_values(values), Mean.of_values(random), Mean.of_values(values - random))
        return cls(method.text, method.layer, measure, len(values), *means)


def evaluate(
    network: Network,
    pixels: Sequence[Tensor],
    classes: Sequence[int],
    methods: Sequence[Explainer],
    measures: Sequence[str],
    seed: int = 0,
    untrained: Network | None = None,
    input_spec: InputSpec | None = None,
) -> list[MeasureResult]:
    """Results of methods by measures on images uint8 (D, h, w), each for its class.

    `input_spec` makes the images the network's input; None: levels 0..1.

    The control is the mean over RANDOM_MAPS maps of the method `random` at the same layer, each
    with its own weights; for a method on the pixels, which takes no layer, at the last convolution.
    Everything is computed on copies of the networks, in evaluation mode, on their device. Raises
    UnknownName and InvalidValue.
    """
    entries = [get_measure(name) for name in dict.fromkeys(measures)]
    evaluator = _Evaluator(network, untrained, pixels, classes, entries, seed, input_spec)
    results = []
    for method in track(list(dict.fromkeys(methods))):
        with progress_slice(0, 0.5):
            values = evaluator.values(method)
        with progress_slice(0.5, 0.5):
            controls = evaluator.random_values(method)
        results += [
            MeasureResult.of_values(method, entry, values[entry.name], controls[entry.name])
            for entry in entries
        ]
    return results


def _in_evaluation_mode(network: Network) -> Network:
    """A copy whose mode can be set, since other threads use the network; programs have no mode."""
    return copy.deepcopy(network).eval() if isinstance(network, StagedNetwork) else network


class _Evaluator:
    """Evaluates methods on the same images, in batches that fit into one pass."""

    def __init__(
        self,
        network: Network,
        untrained: Network | None,
        pixels: Sequence[Tensor],
        classes: Sequence[int],
        measures: Sequence[Measure],
        seed: int,
        input_spec: InputSpec | None,
    ) -> None:
        self._network = _in_evaluation_mode(network)
        self._untrained = None if untrained is None else _in_evaluation_mode(untrained)
        self._measures, self._seed, self._input_spec = measures, seed, input_spec
        device = self._network.device
        self._images = to_network_input(torch.stack(list(pixels)).to(device), input_spec)
        self._classes = torch.as_tensor(list(classes), device=device)
        self._random_values: dict[str, dict[str, Values]] = {}

    def random_values(self, method: Explainer) -> dict[str, Values]:
        """Values of random maps at a method's layer, by the measures' names."""
        layer = self._network.default_layer if method.layer == INPUT else method.layer
        if layer not in self._random_values:
            seeds = range(self._seed + 1, self._seed + 1 + RANDOM_MAPS)
            samples = [
                self.values(Explainer(f"random?seed={seed}", layer)) for seed in track(seeds)
            ]
            self._random_values[layer] = {
                measure.name: np.mean([sample[measure.name] for sample in samples], axis=0)
                for measure in self._measures
            }
        return self._random_values[layer]

    @torch.no_grad()
    def values(self, explain: Explainer) -> dict[str, Values]:
        """The value of each image by the measures' names; NaN where its map is not finite."""
        results: dict[str, list[Values]] = {measure.name: [] for measure in self._measures}
        for batch in self._batches(explain):
            is_finite = batch.maps.flatten(1).isfinite().all(1)
            with progress_slice(EXPLAINING_SHARE, 1 - EXPLAINING_SHARE):
                for measure in track(self._measures):
                    values = torch.where(is_finite, batch.cached(measure.compute), torch.nan)
                    results[measure.name].append(values.double().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in results.items()}

    def _batches(self, explain: Explainer) -> Iterator[EvaluationBatch]:
        size = images_per_pass(self._network, self._images)
        explain_input = partial(explain, input_spec=self._input_spec)
        for images, classes in track(list(split_together(size, self._images, self._classes))):
            with progress_slice(0, EXPLAINING_SHARE):
                maps = explain_input(self._network, images, classes)
            yield EvaluationBatch(
                self._network,
                images,
                classes,
                maps,
                explain_input,
                self._untrained,
                seed=self._seed,
                input_spec=self._input_spec,
            )
