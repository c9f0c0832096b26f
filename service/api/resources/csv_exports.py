"""Tables as CSV (RFC 4180), UTF-8."""

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
    summary="Epochs, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_epochs_csv(respond: Respond, run_id: RunId) -> Response:
    """A row per epoch: losses, accuracies, accuracy per class, learning rate, seconds."""
    store = respond.services.store

    def make_csv() -> bytes:
        with store.read_session() as session:
            names = RunSpec.model_validate(runs.get(session, run_id).spec).source.class_names
            rows = epochs.list_epochs(session, run_id)
        header = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
        header += [f"accuracy_{name}" for name in names] + ["learning_rate", "seconds"]
        return _to_csv(header, map(_epoch_row, rows))

    def describe() -> Description:
        with store.read_session() as session:
            count = runs.get(session, run_id).epochs_done + 1
        return Description(CSV, make_csv, fixed=_attachment(f"run-{run_id}-epochs.csv"), maps=count)

    return await respond(Work("epochs.csv", describe))


@router.get(
    "/blanks.csv",
    summary="Blank maps by cause, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_blanks_csv(respond: Respond, run_id: RunId, parameters: BlankQuery) -> Response:
    """A row per epoch and method."""
    viewer = respond.services.viewer
    methods = parameters.method or PAPER_METHODS

    def describe() -> Description:
        counting = blanks(viewer, run_id, parameters.epochs, parameters.epsilon, methods)
        headers = _attachment(f"run-{run_id}-blanks.csv")
        headers |= quarantine_header(counting.chosen.quarantined)
        return Description(
            CSV,
            lambda: _blanks_csv(counting.table()),
            f"{counting.etag}-csv",
            fixed=headers,
            maps=counting.maps,
        )

    return await respond(Work("blanks.csv", describe, methods=methods))


def _blanks_csv(table: BlankTable) -> bytes:
    header = ["epoch", "method", "total", "blank", *(c.value.replace("-", "_") for c in CAUSES)]
    rows = (
        [epoch, method, count.total, count.blank, *(count.by_cause[cause] for cause in CAUSES)]
        for epoch, counts in table.per_epoch.items()
        for method, count in counts.items()
    )
    return _to_csv(header, rows)


def _epoch_row(epoch: Epoch) -> list[object]:
    m = epoch.metrics
    totals = [m.train_loss, m.train_accuracy, m.test_loss, m.test_accuracy]
    return [epoch.epoch, *totals, *m.per_class_accuracy, m.learning_rate, m.seconds]


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """CSV with an empty field for None."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()
