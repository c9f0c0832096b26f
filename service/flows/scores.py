"""How sure a run's network is of each class for an image, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.methods import PAPER_METHODS
from service.flows.etags import etag_of
from service.flows.recording import ENGINE_VERSION
from service.flows.selection import Chosen, choose_epochs
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


@dataclass(frozen=True)
class ScoreRequest:
    """Scores described; `etag` stands for everything that they depend on."""

    etag: str
    viewer: Viewer
    subject: Subject
    chosen: Chosen

    def scores(self) -> Scores:
        """What was recorded is read; the rest is computed, and kept. Raises CheckpointCorrupt."""
        subject, run_id = self.subject, self.subject.run.id
        with self.viewer.store.read_session() as session:
            kept = predictions.list_for_image(session, run_id, subject.image.reference)
        epochs = [epoch.epoch for epoch in self.chosen.epochs]
        found = {one.epoch: list(one.probabilities) for one in kept}
        missing = [epoch for epoch in epochs if epoch not in found]
        found |= _computed(self.viewer, subject, missing) if missing else {}
        return Scores(
            subject.image.reference,
            subject.image.label,
            subject.spec.source.class_names,
            epochs,
            [found[epoch] for epoch in epochs],
            self.chosen.quarantined,
        )


def score_request(viewer: Viewer, run_id: int, image: str | None, text: str) -> ScoreRequest:
    """Of an image of the run's dataset, or its first probe, at the epochs that `text` names.

    Raises RunNotFound, EpochNotFound, ImageNotFound, InvalidValue, DatasetUnavailable.
    """
    # Any method and class would do: one pass gives all scores.
    subject = viewer.subject(Query(run_id, PAPER_METHODS[0], image, class_name="0"))
    chosen = choose_epochs(text, run_id, viewer.epochs(run_id))
    etag = etag_of(
        *("scores", ENGINE_VERSION, subject.image.sha256, *subject.drawn_names),
        [(epoch.epoch, epoch.checkpoint.sha256) for epoch in chosen.epochs],
        chosen.quarantined,
    )
    return ScoreRequest(etag, viewer, subject, chosen)


def _computed(viewer: Viewer, subject: Subject, missing: list[int]) -> dict[int, list[float]]:
    computed: list[Prediction] = []
    cells = [(epoch, [subject]) for epoch in viewer.epochs(subject.run.id, missing)]
    try:
        for (epoch, _), (maps,) in zip(cells, viewer.maps_over(cells), strict=True):
            number, reference = epoch.epoch, subject.image.reference
            computed.append(
                Prediction(subject.run.id, number, reference, maps.probabilities[0].tolist())
            )
    finally:
        viewer.keep([], computed)
    return {one.epoch: list(one.probabilities) for one in computed}
