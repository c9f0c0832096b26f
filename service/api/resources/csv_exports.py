"""Tables as CSV (RFC 4180), UTF-8."""

import csv
import io
from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Response

from service.api.expensive import RESPONSES, Respond
from service.api.map_parameters import BlankQuery
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.work import ExpensiveRequest, Representation
from service.core.cams.maps import CAUSES
from service.core.cams.methods import PAPER_METHODS
from service.core.recorded_spec import training_spec
from service.flows.identity import identity_of
from service.flows.maps.blanks import BlankTable, blanks
from service.flows.maps.deferred import Deferred, Result
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

    def represent() -> Representation[bytes]:
        with store.read_session() as session:
            spec = training_spec(runs.get(session, run_id).spec)
            rows = epochs.list_epochs(session, run_id)
        class_names = spec.source.class_names
        identity = identity_of("epochs.csv", class_names, [_epoch_row(row) for row in rows])
        table = Deferred(
            identity,
            lambda: Result(identity, _epochs_csv(class_names, rows)),
            map_count=len(rows),
        )
        headers = attachment(f"run-{run_id}-epochs.csv")
        return Representation(table, CSV, lambda content: content, fixed_headers=headers)

    return await respond(ExpensiveRequest("epochs.csv", represent))


@router.get(
    "/blanks.csv",
    summary="Blank maps by cause, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_blanks_csv(respond: Respond, run_id: RunId, parameters: BlankQuery) -> Response:
    """A row per epoch and method."""
    pipeline = respond.services.pipeline
    methods = parameters.method or PAPER_METHODS

    def represent() -> Representation[BlankTable]:
        return Representation(
            blanks(pipeline, run_id, parameters.epochs, parameters.epsilon, methods),
            CSV,
            _blanks_csv,
            "csv",
            fixed_headers=attachment(f"run-{run_id}-blanks.csv"),
        )

    return await respond(ExpensiveRequest("blanks.csv", represent, methods=methods))


def _blanks_csv(table: BlankTable) -> bytes:
    header = ["epoch", "method", "total", "blank", *(c.value.replace("-", "_") for c in CAUSES)]
    rows = (
        [epoch, method, count.total, count.blank, *(count.by_cause[cause] for cause in CAUSES)]
        for epoch, counts in table.per_epoch.items()
        for method, count in counts.items()
    )
    return to_csv(header, rows)


def _epochs_csv(class_names: Sequence[str], rows: Sequence[Epoch]) -> bytes:
    header = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    header += [f"accuracy_{name}" for name in class_names] + ["learning_rate", "seconds"]
    return to_csv(header, map(_epoch_row, rows))


def _epoch_row(epoch: Epoch) -> list[object]:
    m = epoch.metrics
    totals = [m.train_loss, m.train_accuracy, m.test_loss, m.test_accuracy]
    return [epoch.epoch, *totals, *m.per_class_accuracy, m.learning_rate, m.seconds]


def attachment(name: str) -> dict[str, str]:
    """Headers of a file that a browser saves under that name."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """CSV with an empty field for None."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()
