"""Titles, captions and legends of rendered pages."""

from collections.abc import Sequence

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank
from service.core.cams.method import AttributionLevel
from service.core.cams.methods import MethodSpec


def strip_title(
    run_id: int, image: str, class_label: str, method: MethodSpec, quarantined_epochs: Sequence[int]
) -> str:
    """`Run 1: test:7 for class 7, proposed`."""
    title = f"Run {run_id}: {image} for class {class_label}, {method}"
    return title + quarantine_note(quarantined_epochs)


def sheet_title(run_id: int, dataset_title: str, method: MethodSpec, layer: str) -> str:
    """`Run 1, MNIST: Grad-CAM (grad-cam, conv2)`."""
    is_of_input = method.method.attribution_level is AttributionLevel.INPUT
    layer_note = "" if is_of_input else f", {layer}"
    return f"Run {run_id}, {dataset_title}: {method.method.title} ({method}{layer_note})"


def blank_legend(
    causes: Sequence[Blank], scale_name: str, quarantined_epochs: Sequence[int] = ()
) -> str:
    """`3 of 100 blank (peak <= 1e-07 before scaling); one scale per map`."""
    blank_count = sum(cause is not Blank.NONE for cause in causes)
    return (
        f"{blank_count} of {len(causes)} blank (peak <= {DEFAULT_EPSILON:g} before scaling); "
        f"one scale per {scale_name}"
    ) + quarantine_note(quarantined_epochs)


def quarantine_note(epochs: Sequence[int]) -> str:
    """`; without quarantined epochs: 3, 7`, or nothing."""
    return f"; without quarantined epochs: {', '.join(map(str, epochs))}" if epochs else ""
