"""Tables for other programs: CSV (RFC 4180), UTF-8."""

import csv
import io
from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Response

from service.api.expensive import RESPONSES, Respond
from service.api.map_parameters import BlankQuery
from service.api.pagination import RunId
from service.api.quarantine import quarantine_header
from service.api.scopes import requires
from service.api.work import Description, Work
from service.core.cams.maps import CAUSES
from service.core.cams.methods import PAPER_METHODS
from service.core.spec import RunSpec
from service.flows.blanks import BlankTable, blanks
from service.store import epochs, runs
from service.store.epochs import Epoch
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["tables"])

CSV = "text/csv; charset=utf-8"


@router.get(
    "/epochs.csv",
    summary="The epochs of a run, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_epochs_csv(respond: Respond, run_id: RunId) -> Response:
    """A line an epoch: losses, accuracies, that of each class, learning rate, seconds."""
    store = respond.services.store

    def table() -> bytes:
        with store.read_session() as session:
            names = RunSpec.model_validate(runs.get(session, run_id).spec).source.class_names
            found = epochs.list_epochs(session, run_id)
        head = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
        head += [f"accuracy_{name}" for name in names] + ["learning_rate", "seconds"]
        return _table(head, map(_measures, found))

    def describe() -> Description:
        with store.read_session() as session:
            count = runs.get(session, run_id).epochs_done + 1
        return Description(CSV, table, fixed=_attachment(f"run-{run_id}-epochs.csv"), maps=count)

    return await respond(Work("epochs.csv", describe))


@router.get(
    "/blanks.csv",
    summary="How many maps show nothing, and why, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_blanks_csv(respond: Respond, run_id: RunId, asked: BlankQuery) -> Response:
    """A line an epoch and method."""
    viewer = respond.services.viewer
    methods = asked.method or PAPER_METHODS

    def describe() -> Description:
        counting = blanks(viewer, run_id, asked.epochs, asked.epsilon, methods)
        headers = _attachment(f"run-{run_id}-blanks.csv")
        headers |= quarantine_header(counting.chosen.quarantined)
        return Description(
            CSV,
            lambda: _blank_lines(counting.table()),
            f"{counting.etag}-csv",
            fixed=headers,
            maps=counting.maps,
        )

    return await respond(Work("blanks.csv", describe, methods=methods))


def _blank_lines(table: BlankTable) -> bytes:
    head = ["epoch", "method", "total", "blank", *(c.value.replace("-", "_") for c in CAUSES)]
    lines = (
        [epoch, method, count.total, count.blank, *(count.by_cause[cause] for cause in CAUSES)]
        for epoch, counts in table.per_epoch.items()
        for method, count in counts.items()
    )
    return _table(head, lines)


def _measures(epoch: Epoch) -> list[object]:
    m = epoch.metrics
    learned = [epoch.epoch, m.train_loss, m.train_accuracy, m.test_loss, m.test_accuracy]
    return [*learned, *m.per_class_accuracy, m.learning_rate, m.seconds]


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """Empty where there is no value."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows(lines)
    return out.getvalue().encode()
