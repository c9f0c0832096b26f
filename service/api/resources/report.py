"""A run's report: one HTML file to keep, print or send."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.expensive import RESPONSES, Respond
from service.api.map_parameters import Epochs, Text
from service.api.pagination import RunId
from service.api.quarantine import quarantine_header
from service.api.scopes import requires
from service.api.work import Description, Work
from service.core.cams.methods import PAPER_METHODS
from service.report.document import ReportQuery, run_report
from service.report.languages import Language
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["runs"])


class ReportParameters(BaseModel):
    """What a report tells, and in which language."""

    model_config = ConfigDict(extra="forbid")

    method: list[Text] = Field(
        list(PAPER_METHODS),
        min_length=1,
        max_length=4,
        description="Explanations, `layer-cam` or `layer-cam/centered`; repeatable. Each has a "
        "contact sheet.",
    )
    epochs: Epochs = "0:"
    language: Language = Field("en", description="Of the report's words.")


@router.get(
    "/report.html",
    summary="A run's report as one HTML file",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_report(
    respond: Respond,
    run_id: RunId,
    asked: Annotated[ReportParameters, Query()],
) -> Response:
    """Curves, contact sheets, blank maps and the spec: no script, nothing fetched from elsewhere.

    Of more than about 50 epochs, sheets and the table of epochs show an even sample, and say so.
    """
    query = ReportQuery(run_id, asked.method, asked.epochs, asked.language)

    def describe() -> Description:
        report = run_report(respond.services.pictures, query)
        headers = {"Content-Disposition": f'attachment; filename="run-{run_id}-report.html"'}
        headers |= quarantine_header(report.quarantined)
        return Description("text/html", report.draw, report.etag, headers=lambda: headers)

    return await respond(Work("report", describe))
