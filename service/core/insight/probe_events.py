"""Events in the course of a probe's predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ProbeEventType(StrEnum):
    """What happened to the prediction of a probe at an epoch."""

    FIRST_CORRECT = "first-correct"
    FORGOTTEN = "forgotten"  # correct before, incorrect now
    RELEARNED = "relearned"  # correct again
    FLIPPED = "flipped"  # from one wrong class to another; of an unlabeled image, any change


@dataclass(frozen=True)
class ProbeEvent:
    """An event, with the predicted classes before and after."""

    epoch: int
    type: ProbeEventType
    previous_class: int | None  # None for the first prediction
    predicted_class: int


def find_probe_events(
    predictions: Sequence[tuple[int, int]], label: int | None
) -> list[ProbeEvent]:
    """The events of (epoch, predicted class) in the order of epochs. `label` None: unlabeled."""
    events = []
    previous: int | None = None
    was_ever_correct = False
    for epoch, predicted in predictions:
        event_type = _event_type(previous, predicted, label, was_ever_correct=was_ever_correct)
        if event_type is not None:
            events.append(ProbeEvent(epoch, event_type, previous, predicted))
        was_ever_correct = was_ever_correct or predicted == label
        previous = predicted
    return events


def _event_type(
    previous: int | None, predicted: int, label: int | None, *, was_ever_correct: bool
) -> ProbeEventType | None:
    if predicted == previous:
        return None
    if label is not None and predicted == label:
        return ProbeEventType.RELEARNED if was_ever_correct else ProbeEventType.FIRST_CORRECT
    if previous is None:
        return None
    return ProbeEventType.FORGOTTEN if previous == label else ProbeEventType.FLIPPED
