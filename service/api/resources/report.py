"""A run's report as one HTML file."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.expensive import RESPONSES, Respond
from service.api.map_parameters import Epochs, Text
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.work import ExpensiveRequest, Representation
from service.core.cams.methods import PAPER_METHODS
from service.report.document import ReportQuery, run_report
from service.report.languages import Language
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["runs"])


class ReportParameters(BaseModel):
    """Parameters of a report."""

    model_config = ConfigDict(extra="forbid")

    method: list[Text] = Field(
        list(PAPER_METHODS),
        min_length=1,
        max_length=4,
        description="Methods, as in `layer-cam` or `layer-cam/centered`; repeatable. Each gets a "
        "contact sheet.",
    )
    epochs: Epochs = "0:"
    language: Language = Field("en", description="Language of the report.")


@router.get(
    "/report.html",
    summary="Download the report of a run",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **RESPONSES},
)
@requires(READ)
async def read_report(
    respond: Respond,
    run_id: RunId,
    parameters: Annotated[ReportParameters, Query()],
) -> Response:
    """Curves, contact sheets, blank maps and the settings in a self-contained HTML file.

    Sheets and the table of epochs show at most about 50 epochs, evenly sampled.
    """
    query = ReportQuery(run_id, parameters.method, parameters.epochs, parameters.language)

    headers = {"Content-Disposition": f'attachment; filename="run-{run_id}-report.html"'}

    def represent() -> Representation[bytes]:
        deferred = run_report(respond.services.pictures, query)
        return Representation(
            deferred, "text/html", lambda content: content, headers=lambda _: headers
        )

    return await respond(ExpensiveRequest("report", represent))
