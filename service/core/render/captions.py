"""Titles and legends of rendered pages."""

from collections.abc import Sequence

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank
from service.core.cams.method import AttributionLevel
from service.core.cams.methods import MethodSpec
from service.core.render.strength import STRONGEST_PEAK, WEAKEST_PEAK


def strip_title(run_id: int, image: str, class_label: str, method: MethodSpec) -> str:
    """`Run 1: test:7 for class 7, proposed`."""
    return f"Run {run_id}: {image} for class {class_label}, {method}"


def sheet_title(run_id: int, dataset_title: str, method: MethodSpec, layer: str) -> str:
    """`Run 1, MNIST: Grad-CAM (grad-cam, conv2)`."""
    is_of_input = method.method.attribution_level is AttributionLevel.INPUT
    layer_note = "" if is_of_input else f", {layer}"
    return f"Run {run_id}, {dataset_title}: {method.method.title} ({method}{layer_note})"


def legend(causes: Sequence[Blank], scale_note: str, quarantined_epochs: Sequence[int] = ()) -> str:
    """What the cells of a page mean, `causes` those of their blankness.

    `3 of 100 blank (peak <= 1e-07 before scaling); one scale per row; bars: peak, 1e-07 to 10,
    logarithmic`.
    """
    blank_count = sum(cause is not Blank.NONE for cause in causes)
    return (
        f"{blank_count} of {len(causes)} blank (peak <= {DEFAULT_EPSILON:g} before scaling); "
        f"{scale_note}; bars: peak, {WEAKEST_PEAK:g} to {STRONGEST_PEAK:g}, logarithmic"
    ) + quarantine_note(quarantined_epochs)


def quarantine_note(epochs: Sequence[int]) -> str:
    """`; without quarantined epochs: 3, 7`, or nothing."""
    return f"; without quarantined epochs: {', '.join(map(str, epochs))}" if epochs else ""
