"""Tables for other programs: CSV (RFC 4180), UTF-8."""

import csv
import io
from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Response

from service.api.map_parameters import BlankQuery
from service.api.pages import RunId
from service.api.quarantine import quarantine_header, without_bad_epochs
from service.api.services import Services
from service.core.cams.blank import CAUSES
from service.core.cams.methods import PAPER_METHODS
from service.core.spec import RunSpec
from service.flows.blanks import count_blanks
from service.store import epochs, runs
from service.store.epochs import Epoch

router = APIRouter(prefix="/runs/{run_id}", tags=["tables"])

CSV = "text/csv"


@router.get(
    "/epochs.csv",
    summary="The epochs of a run, as CSV",
    response_class=Response,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
def read_epochs_csv(services: Services, run_id: RunId) -> Response:
    """A line an epoch: losses, accuracies, that of each class, learning rate, seconds."""
    with services.store.reading() as session:
        names = RunSpec.model_validate(runs.get(session, run_id).spec).source.class_names
        found = epochs.all_of(session, run_id)
    head = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    head += [f"accuracy_{name}" for name in names] + ["learning_rate", "seconds"]
    return _table(f"run-{run_id}-epochs.csv", head, map(_measures, found))


@router.get(
    "/blanks.csv",
    summary="How many maps show nothing, and why, as CSV",
    response_class=Response,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
@without_bad_epochs
def read_blanks_csv(services: Services, run_id: RunId, asked: BlankQuery) -> Response:
    """A line an epoch and method."""
    methods = asked.method or PAPER_METHODS
    table = count_blanks(services.viewer, run_id, asked.epochs, asked.epsilon, methods)
    head = ["epoch", "method", "total", "blank", *(c.value.replace("-", "_") for c in CAUSES)]
    lines = (
        [epoch, method, count.total, count.blank, *(count.by_cause[cause] for cause in CAUSES)]
        for epoch, counts in table.per_epoch.items()
        for method, count in counts.items()
    )
    reply = _table(f"run-{run_id}-blanks.csv", head, lines)
    reply.headers.update(quarantine_header(table.quarantined))
    return reply


def _measures(epoch: Epoch) -> list[object]:
    m = epoch.measures
    learned = [epoch.epoch, m.train_loss, m.train_accuracy, m.test_loss, m.test_accuracy]
    return [*learned, *m.per_class_accuracy, m.learning_rate, m.seconds]


def _table(name: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> Response:
    """Empty where there is no value."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows(lines)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(out.getvalue(), media_type=f"{CSV}; charset=utf-8", headers=headers)
