"""The words of a report: what every language has."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """One language's; braces name what is filled in."""

    language: str
    report: str
    run: str
    contents: str
    status: str
    statuses: Mapping[str, str]
    unfinished: str
    dataset: str
    tags: str
    created: str
    started: str
    finished: str
    epochs_done: str
    epochs_of: str
    covered: str
    last_accuracy: str
    at_epoch: str
    none_yet: str
    none_ever: str

    seen: str
    seen_map: str
    seen_blank: str
    causes: Mapping[str, str]
    cause_meanings: Mapping[str, str]

    curves: str
    loss: str
    accuracy: str
    blank_share: str
    train: str
    test: str
    epoch: str
    curve_spoken: str
    curve_empty: str

    maps: str
    maps_by: str
    methods: Mapping[str, str]
    layer: str
    rows_and_columns: str
    all_shown: str
    some_shown: str
    sheet_alt: str
    full_size: str

    blanks: str
    blanks_counted: str
    method: str
    total: str
    blank: str
    share: str

    epochs: str
    epoch_head: str
    train_loss: str
    test_loss: str
    train_accuracy: str
    test_accuracy: str
    learning_rate: str
    seconds: str
    blank_by: str

    classes: str
    class_: str

    spec: str
    spec_names: str

    made: str
    made_by: str
    made_from: str
    made_maps: str
    made_again: str
