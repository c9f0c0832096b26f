"""The texts of a report that every language provides."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """The texts in one language; braces are placeholders of `str.format`."""

    language: str
    report: str
    run: str
    contents: str
    status: str
    statuses: Mapping[str, str]
    run_in_progress: str
    dataset: str
    tags: str
    created: str
    started: str
    finished: str
    epochs_completed: str
    epochs_of_total: str
    epochs_covered: str
    last_test_accuracy: str
    value_at_epoch: str
    no_epochs_yet: str
    ended_without_epochs: str

    legend: str
    legend_map: str
    legend_strength: str
    legend_blank: str
    cause_names: Mapping[str, str]
    cause_descriptions: Mapping[str, str]

    findings: str
    no_findings: str
    evidence: str
    evidence_names: Mapping[str, str]
    evidence_value: str
    value_without_threshold: str
    epochs_of_finding: str
    refutation: str
    exchange_map: str
    exchange_map_note: str
    class_means: str
    class_means_note: str

    curves: str
    loss: str
    accuracy: str
    blank_fraction: str
    train_images: str
    test_images: str
    epoch_axis: str
    curve_description: str
    curve_empty: str
    training_accuracy_note: str
    axis_start: str

    maps: str
    maps_of_method: str
    method_titles: Mapping[str, str]
    layer: str
    sheet_axes: str
    all_epochs_shown: str
    sampled_epochs_shown: str
    sheet_alt: str
    full_size: str

    blank_maps: str
    blank_count_note: str
    method: str
    map_count: str
    blank: str
    fraction: str

    epochs: str
    epoch_column: str
    train_loss: str
    test_loss: str
    train_accuracy: str
    test_accuracy: str
    learning_rate: str
    seconds: str
    blank_of_method: str

    class_accuracy: str
    class_column: str

    settings: str
    settings_note: str

    provenance: str
    generator: str
    last_epoch_note: str
    map_rendering_note: str
    command_note: str
