"""Measures over epochs: functions of a network and a fixed sample, each with its entry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from service.core.cams.methods import PAPER_METHODS
from service.core.insight.network_sample import MIN_PLAUSIBLE_SHARE, EpochView, Floats
from service.core.measures.deletion import deletion
from service.core.measures.measure import EvaluationBatch
from service.core.measures.resampling import layer_placement, resample_to_pixels
from service.core.measures.similarity import pearson, spearman
from service.core.models import StagedNetwork
from service.core.models.stages import Convolution

SATURATED_DERIVATIVE = 1e-4
"""Derivative of the class probability below which an output counts as saturated. At 1 - p = 1e-4,
the conventional map is 10,000 times weaker than the one of the pre-activation."""

FAITHFULNESS_IMAGES = 20
FAITHFULNESS_STEPS = 14


@dataclass(frozen=True)
class EpochMeasure:
    """One entry of the table. `compute` gives the value of an epoch, or None if it has none."""

    name: str
    title: str
    formula: str
    source: str
    range: tuple[float, float]
    compute: Callable[[EpochView], float | None]
    is_occasional: bool = False  # too expensive for each epoch


def _blank_share(method: str, cause: str) -> Callable[[EpochView], float | None]:
    def compute(view: EpochView) -> float:
        return view.blank_counts(method)[cause] / len(view.sample.labels)

    return compute


BLANK_SHARES = tuple(
    EpochMeasure(
        name=f"blank_share:{method}:{cause}",
        title=f"Blank maps by {method}, {cause}",
        formula="maps of the labels that are blank for this cause / maps of the labels",
        source="Sakai and Takenaka 2019, section 4, by the causes of docs/methods.md",
        range=(0, 1),
        compute=_blank_share(method, cause),
    )
    for method in PAPER_METHODS
    for cause in ("saturated", "all-negative", "dead")
)


def saturated_share(view: EpochView) -> float:
    """Share of the images whose class probability no longer reacts to its pre-activation."""
    return float((view.score_derivatives < SATURATED_DERIVATIVE).double().mean())


SATURATED_SHARE = EpochMeasure(
    name="saturated_share",
    title="Saturated outputs",
    formula="share of images with d p_y / d x_y < 1e-4",
    source="Sakai and Takenaka 2019, section 3: the gradient of the score after softmax vanishes",
    range=(0, 1),
    compute=saturated_share,
)


def dead_unit_share(view: EpochView) -> float | None:
    """Share of rectified units without a positive output for any image of the sample.

    Units are channels of convolutions and units behind an `nn.ReLU`; of a program, the channels of
    the default layer, and None if that has negative values.
    """
    if isinstance(view.network, StagedNetwork):
        return _dead_share_of_stages(view.network, view.sample.images)
    with torch.no_grad():
        activations = view.network.split(view.network.default_layer).below(view.sample.images)[0]
    if bool((activations < 0).any()):
        return None
    return float((activations.amax((0, 2, 3)) <= 0).double().mean())


def _dead_share_of_stages(network: StagedNetwork, images: Tensor) -> float | None:
    units, dead_units = 0, 0
    signal = images
    with torch.no_grad():
        for stage in network:
            signal = stage(signal)
            if isinstance(stage, Convolution | nn.ReLU):
                peaks = signal.transpose(0, 1).flatten(1).amax(1)
                units += len(peaks)
                dead_units += int((peaks <= 0).sum())
    return dead_units / units if units else None


DEAD_UNIT_SHARE = EpochMeasure(
    name="dead_unit_share",
    title="Dead units",
    formula="share of rectified units whose output is 0 for all images of the sample",
    source="Lu et al., Dying ReLU and Initialization (arXiv:1903.06733), section 1",
    range=(0, 1),
    compute=dead_unit_share,
)


def on_object_share(view: EpochView) -> float | None:
    """Mean over images of the share of the map on the object; None without plausible objects.

    The object is widened by the margin of `find_objects` alone: the map of a layer with a larger
    receptive field is blurred beyond it, so compare networks of one kernel size.
    """
    masks = view.sample.masks
    has_object = masks.flatten(1).any(1)
    if float(has_object.double().mean()) < MIN_PLAUSIBLE_SHARE:
        return None
    rows = has_object & torch.from_numpy(view.is_visible)
    if not bool(rows.any()):
        return None
    maps = view.own_maps_on_pixels[rows]
    totals = maps.flatten(1).sum(1)
    on_object = (maps * masks[rows]).flatten(1).sum(1)
    return float((on_object / totals)[totals > 0].mean())


ON_OBJECT_SHARE = EpochMeasure(
    name="on_object_share",
    title="Attention on the object",
    formula="mean of sum(L on the object) / sum(L), L = max(0, hires-cam/centered) of the label",
    source="Zhang et al., Top-down Neural Attention by Excitation Backprop (arXiv:1608.00507), "
    "section 4.2, as an energy share: Wang et al., Score-CAM (arXiv:1910.01279), section 4.3",
    range=(0, 1),
    compute=on_object_share,
)


def evidence_margin(view: EpochView) -> float | None:
    """Mean over images of the contrast between the evidence of the label and of its rival."""
    label_sums = view.own_maps.clip(min=0).reshape(len(view.own_maps), -1).sum(axis=1)
    rival_sums = view.rival_maps.clip(min=0).reshape(len(view.own_maps), -1).sum(axis=1)
    rows = label_sums + rival_sums > 0
    return (
        float(((label_sums - rival_sums)[rows] / (label_sums + rival_sums)[rows]).mean())
        if rows.any()
        else None
    )


EVIDENCE_MARGIN = EpochMeasure(
    name="evidence_margin",
    title="True class minus strongest rival",
    formula="mean of (sum L_y - sum L_r) / (sum L_y + sum L_r); r has the largest score beside y",
    source="this project: the mean correlation of all classes is -1 / (C - 1) by construction",
    range=(-1, 1),
    compute=evidence_margin,
)


def class_mean_drift(view: EpochView) -> float | None:
    """1 - mean correlation of the class-mean maps with those of the epoch measured before."""
    correlations = _compare_means(view.class_means, view.previous_class_means, pearson)
    return None if correlations is None else 1 - correlations


CLASS_MEAN_DRIFT = EpochMeasure(
    name="class_mean_drift",
    title="Drift of the class-mean maps",
    formula="1 - mean over classes of Pearson(mean L of this epoch, of the one before), no blanks",
    source="after Reasoning Stabilization Point (arXiv:2601.11625)",
    range=(0, 2),
    compute=class_mean_drift,
)


def untrained_similarity(view: EpochView) -> float | None:
    """Mean rank correlation of the class-mean maps with those of the untrained network."""
    return _compare_means(view.class_means, view.untrained_class_means, spearman)


UNTRAINED_SIMILARITY = EpochMeasure(
    name="untrained_similarity",
    title="Similarity to the untrained network",
    formula="mean over classes of Spearman(mean L, mean L of epoch 0)",
    source="after Adebayo et al., Sanity Checks for Saliency Maps (arXiv:1810.03292)",
    range=(-1, 1),
    compute=untrained_similarity,
)


def _compare_means(
    means: Floats, references: Floats | None, compare: Callable[[Tensor, Tensor], Tensor]
) -> float | None:
    if references is None:
        return None
    rows = np.isfinite(means).all(axis=(1, 2)) & np.isfinite(references).all(axis=(1, 2))
    if not rows.any():
        return None
    a, b = (torch.from_numpy(values[rows]) for values in (means, references))
    return float(compare(a, b).double().mean())


def _faithfulness(method: str) -> Callable[[EpochView], float | None]:
    def compute(view: EpochView) -> float:
        stride = max(1, len(view.sample.labels) // FAITHFULNESS_IMAGES)
        rows = torch.arange(0, len(view.sample.labels), stride)
        images, labels = view.sample.images[rows], view.sample.labels[rows]
        size = (images.shape[-2], images.shape[-1])
        placement = layer_placement(view.network, view.network.default_layer, images[:1])
        signed = torch.from_numpy(view.maps.signed[method])[rows, labels].clamp(min=0)
        generator = torch.Generator().manual_seed(0)
        random_maps = torch.rand(signed.shape, generator=generator)
        areas = [
            deletion(
                EvaluationBatch(
                    network=view.network,
                    images=images,
                    classes=labels.to(images.device),
                    maps=resample_to_pixels(maps, size, placement).to(images.device),
                    explain=_refuse_explaining,
                    input_spec=view.sample.input_spec,
                ),
                FAITHFULNESS_STEPS,
            )
            for maps in (random_maps, signed)
        ]
        return float((areas[0] - areas[1]).double().mean())

    return compute


def _refuse_explaining(*_: object) -> Tensor:
    raise ValueError("deletion explains no other network")


FAITHFULNESS = tuple(
    EpochMeasure(
        name=f"faithfulness:{method}",
        title=f"Faithfulness of {method} against a random map",
        formula="mean of (area under p_y as a random map's pixels are deleted, minus as the map's)",
        source="Petsiuk et al., RISE (arXiv:1806.07421), section 4, against random maps",
        range=(-1, 1),
        compute=_faithfulness(method),
        is_occasional=True,
    )
    for method in PAPER_METHODS
)

EPOCH_MEASURES: tuple[EpochMeasure, ...] = (
    *BLANK_SHARES,
    SATURATED_SHARE,
    DEAD_UNIT_SHARE,
    ON_OBJECT_SHARE,
    EVIDENCE_MARGIN,
    CLASS_MEAN_DRIFT,
    UNTRAINED_SIMILARITY,
    *FAITHFULNESS,
)
"""Measures of the network of an epoch. A new one is a line here."""
