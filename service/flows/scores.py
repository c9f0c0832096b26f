"""How sure a run's network is of each class for an image, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.methods import PAPER_METHODS
from service.flows.selection import choose_epochs
from service.flows.viewing import Query, Subject, Viewer
from service.store import predictions
from service.store.predictions import Prediction


@dataclass(frozen=True)
class Scores:
    """Softmax's probabilities: one list an epoch, one number a class."""

    image: str
    label: int | None
    classes: Sequence[str]
    epochs: list[int]
    probabilities: list[list[float]]
    quarantined: list[int]  # epochs that were asked for and are left out


def image_scores(viewer: Viewer, run_id: int, image: str | None, text: str) -> Scores:
    """Of an image of the run's dataset, or its first probe, at the epochs that `text` names.

    What was recorded is read; the rest is computed, and kept. Raises RunNotFound, EpochNotFound,
    ImageNotFound, InvalidValue, CheckpointCorrupt, DatasetUnavailable.
    """
    # Any method and class would do: one pass gives all scores.
    subject = viewer.subject(Query(run_id, PAPER_METHODS[0], image, class_name="0"))
    reference = subject.image.reference
    with viewer.store.reading() as session:
        kept = predictions.of_image(session, run_id, reference)
    asked = choose_epochs(text, run_id, viewer.epochs(run_id))
    chosen = [epoch.epoch for epoch in asked.epochs]
    found = {one.epoch: list(one.probabilities) for one in kept}
    missing = [epoch for epoch in chosen if epoch not in found]
    found |= _computed(viewer, subject, missing) if missing else {}
    return Scores(
        reference,
        subject.image.label,
        subject.spec.source.class_names,
        chosen,
        [found[epoch] for epoch in chosen],
        asked.quarantined,
    )


def _computed(viewer: Viewer, subject: Subject, missing: list[int]) -> dict[int, list[float]]:
    found = {}
    for epoch in viewer.epochs(subject.run.id, missing):
        (maps,) = viewer.maps(epoch, [subject])
        found[epoch.epoch] = maps.probabilities[0].tolist()
        made = Prediction(
            subject.run.id, epoch.epoch, subject.image.reference, maps.probabilities[0]
        )
        viewer.keep([], [made])
    return found
