"""Insights of a run over its epochs, confusion matrices, and the events of its probes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from service.core.insight.dataset_facts import DatasetFacts
from service.core.insight.measures import EPOCH_MEASURES, EpochMeasure
from service.core.insight.mistakes import Integers, Mistakes
from service.core.insight.probe_events import ProbeEvent, find_probe_events
from service.core.insight.training_measures import TRAINING_MEASURES, TrainingMeasure
from service.core.recorded_spec import RecordedSpec, parse_spec
from service.errors import NotFound
from service.store import epoch_insights, epochs, images, predictions, runs
from service.store.store import Store

MEASURES: tuple[EpochMeasure | TrainingMeasure, ...] = (*EPOCH_MEASURES, *TRAINING_MEASURES)
"""All measures over epochs, in the order of answers."""


@dataclass(frozen=True)
class RunInsights:
    """Measures by name with one value per epoch, None where not taken; images of the last epoch."""

    run_id: int
    epochs: list[int]
    values: dict[str, list[float | None]]
    hardest: list[dict[str, Any]]
    most_forgotten: list[dict[str, Any]]


def read_insights(store: Store, run_id: int) -> RunInsights:
    """The stored measures of a run; empty for one of an earlier version. Raises RunNotFound."""
    with store.read_session() as session:
        runs.get(session, run_id)
        rows = epoch_insights.list_documents(session, run_id)
    last = rows[-1][1] if rows else {"hardest": [], "most_forgotten": []}
    return RunInsights(
        run_id,
        [epoch for epoch, _ in rows],
        {
            measure.name: [document["values"].get(measure.name) for _, document in rows]
            for measure in MEASURES
        },
        last["hardest"],
        last["most_forgotten"],
    )


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of an epoch (C, C), rows are true classes, and its mistakes."""

    epoch: int
    class_names: tuple[str, ...]
    matrix: Integers
    mistakes: Mistakes


def read_confusion(store: Store, run_id: int, epoch: int) -> Confusion:
    """The matrix of the test split at an epoch. Raises RunNotFound, EpochNotFound, and NotFound if
    the run recorded no predictions of test images.
    """
    with store.read_session() as session:
        run = runs.get(session, run_id)
        epochs.get(session, run_id, epoch)
        row = epoch_insights.get(session, run_id, epoch)
        first = epoch_insights.get(session, run_id, 0)
    if row is None or first is None or first.document["facts"] is None:
        raise NotFound(f"Run {run_id} has no recorded predictions of its test images.")
    spec = parse_spec(run.spec)
    class_names = spec.class_names if isinstance(spec, RecordedSpec) else spec.source.class_names
    facts = DatasetFacts.from_document(first.document["facts"])
    mistakes = Mistakes.from_bytes(row.mistakes)
    matrix = mistakes.confusion(facts.test_class_sizes)
    return Confusion(epoch, tuple(class_names), matrix, mistakes)


@dataclass(frozen=True)
class ProbeCourse:
    """A probe and the events of its predictions."""

    image: str
    label: int | None
    events: list[ProbeEvent]


def read_probe_events(store: Store, run_id: int) -> list[ProbeCourse]:
    """The events of each probe, in the run's order. Raises RunNotFound."""
    with store.read_session() as session:
        runs.get(session, run_id)
        probes = images.list_probes(session, run_id)
        by_image = {
            probe.reference: predictions.list_for_image(session, run_id, probe.reference)
            for probe in probes
        }
    return [
        ProbeCourse(
            probe.reference,
            probe.label,
            find_probe_events(
                [
                    (row.epoch, int(np.argmax(row.probabilities)))
                    for row in by_image[probe.reference]
                ],
                probe.label,
            ),
        )
        for probe in probes
    ]
