"""Methods against measures, each beside the random map."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.measures.explainer import Explainer
from service.core.measures.measure import EvaluationBatch, Measure, batch_size, in_parts
from service.core.measures.measures import MEASURES
from service.core.models import StagedNetwork
from service.core.models.stages import INPUT
from service.core.preprocessing import to_network_input
from service.core.progress import progress_slice, track
from service.errors import UnknownName

RANDOM_MAPS = 3
EXPLAINING_SHARE = 0.5
"""Of the time that a method takes, as progress counts it: the rest is measuring."""

Values = npt.NDArray[np.float64]  # (N,), one an image


@dataclass(frozen=True)
class Mean:
    """Mean over images, and its standard error: deviation / sqrt(N); None for a single image.

    Both are NaN where an image's value is.
    """

    mean: float
    standard_error: float | None

    @classmethod
    def of(cls, values: Values) -> "Mean":
        """Of at least one value."""
        count = len(values)
        error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else None
        return cls(float(values.mean()), error)


@dataclass(frozen=True)
class MeasureResult:
    """One method by one measure: `difference` is that of each image's value to the random map's."""

    method: str
    layer: str
    measure: Measure
    count: int
    value: Mean
    random: Mean
    difference: Mean

    @classmethod
    def of(
        cls, method: Explainer, measure: Measure, values: Values, random: Values
    ) -> "MeasureResult":
        """From the values of each image (N,)."""
        means = (Mean.of(values), Mean.of(random), Mean.of(values - random))
        return cls(method.text, method.layer, measure, len(values), *means)


def evaluate(
    network: StagedNetwork,
    pixels: Sequence[Tensor],
    classes: Sequence[int],
    methods: Sequence[Explainer],
    measures: Sequence[str],
    seed: int = 0,
    untrained: StagedNetwork | None = None,
) -> list[MeasureResult]:
    """Scores of methods by measures on images uint8 (D, h, w), each for its class.

    The random map stands beside each: the method `random` at the same layer, of which every image
    has RANDOM_MAPS with other weights, and the mean of their values. Beside a method on the pixels,
    which takes no layer, it is that of the last convolution. All is computed on copies of the
    networks, in evaluation mode, on their device. Raises UnknownName and InvalidValue.
    """
    chosen = [get_measure(name) for name in dict.fromkeys(measures)]
    judge = _Judge(network, untrained, pixels, classes, chosen, seed)
    scores = []
    for method in track(list(dict.fromkeys(methods))):
        with progress_slice(0, 0.5):
            values = judge(method)
        with progress_slice(0.5, 0.5):
            random = judge.random(method)
        for measure in chosen:
            own, control = values[measure.name], random[measure.name]
            scores.append(MeasureResult.of(method, measure, own, control))
    return scores


class _Judge:
    """Judges methods on the same images: as many at once as a pass may take."""

    def __init__(
        self,
        network: StagedNetwork,
        untrained: StagedNetwork | None,
        pixels: Sequence[Tensor],
        classes: Sequence[int],
        measures: Sequence[Measure],
        seed: int,
    ) -> None:
        # Copies: evaluation mode is set on them, and other threads look at the shared ones.
        self._network = copy.deepcopy(network).eval()
        self._untrained = None if untrained is None else copy.deepcopy(untrained).eval()
        self._measures, self._seed = measures, seed
        device = next(self._network.parameters()).device
        self._images = to_network_input(torch.stack(list(pixels)).to(device))
        self._classes = torch.as_tensor(list(classes), device=device)
        self._random: dict[str, dict[str, Values]] = {}

    def random(self, beside: Explainer) -> dict[str, Values]:
        """Values of the random map beside a method's, one for all methods at a layer."""
        layer = self._network.last_convolution if beside.layer == INPUT else beside.layer
        if layer not in self._random:
            seeds = range(self._seed + 1, self._seed + 1 + RANDOM_MAPS)
            drawn = [self(Explainer(f"random?seed={seed}", layer)) for seed in track(seeds)]
            self._random[layer] = {
                measure.name: np.mean([values[measure.name] for values in drawn], axis=0)
                for measure in self._measures
            }
        return self._random[layer]

    @torch.no_grad()
    def __call__(self, explain: Explainer) -> dict[str, Values]:
        """Values by the measures' names, one an image each; NaN where its map is not finite."""
        found: dict[str, list[Values]] = {measure.name: [] for measure in self._measures}
        for subject in self._subjects(explain):
            finite = subject.maps.flatten(1).isfinite().all(1)
            with progress_slice(EXPLAINING_SHARE, 1 - EXPLAINING_SHARE):
                for measure in track(self._measures):
                    values = torch.where(finite, subject.cached(measure.compute), torch.nan)
                    found[measure.name].append(values.double().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _subjects(self, explain: Explainer) -> Iterator[EvaluationBatch]:
        at_once = batch_size(self._network, self._images)
        for images, classes in track(list(in_parts(at_once, self._images, self._classes))):
            with progress_slice(0, EXPLAINING_SHARE):
                maps = explain(self._network, images, classes)
            yield EvaluationBatch(
                self._network, images, classes, maps, explain, self._untrained, seed=self._seed
            )


def get_measure(name: str) -> Measure:
    """The measure of that name. Raises UnknownName."""
    if name not in MEASURES:
        raise UnknownName("measure", name, MEASURES)
    return MEASURES[name]
