"""Findings of runs, exchange tests, and pictures of classes."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.content_negotiation import negotiate_language
from service.api.expensive import RESPONSES, Respond
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.services import Services
from service.api.work import ExpensiveRequest, Representation
from service.core.insight.class_means import CLASS_MEAN_METHOD
from service.core.insight.finding import Finding, Severity
from service.core.insight.shortcuts import ExchangeTest
from service.flows.exchange_tests import exchange_test
from service.flows.findings import RunFindings, read_findings
from service.flows.maps.class_pictures import class_means, exchange_map
from service.flows.maps.pictures import Picture
from service.report.finding_sentences import describe_finding, describe_unavailable
from service.report.languages import LANGUAGES, Language
from service.store.run_status import RunStatus
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["findings"])

AcceptLanguage = Annotated[
    str, Header(max_length=500, description="The language of sentences: en or ja.")
]
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    **RESPONSES,
}


class EvidenceResponse(BaseModel):
    """A measured number that a rule compared with its threshold."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    value: float
    threshold: float | None
    n: int = Field(description="Number of images, epochs or steps that were measured.")


class RegionResponse(BaseModel):
    """A rectangle of the image in pixels, and the share of the evidence that lies in it."""

    model_config = ConfigDict(from_attributes=True)

    top: int
    left: int
    height: int
    width: int
    share: float = Field(description="1 and the whole image where no place stands out.")


class FindingLinks(BaseModel):
    """Where a finding can be seen, relative to the service's root."""

    page: str = Field(description="The reel with the maps of the class.")
    picture: str | None = Field(description="A picture of the evidence.")


class FindingResponse(BaseModel):
    """One statement about a run."""

    id: str = Field(description="Hash of kind, classes and property; equal if measured again.")
    kind: str = Field(description="Code of the rule; that of a shortcut begins with `shortcut`.")
    severity: Severity
    severity_label: str
    attribute: str = Field(description="What it is about, such as the exchanged property.")
    sentence: str
    class_indices: list[int]
    class_names: list[str]
    epochs: list[int] | None = Field(description="First and last epoch that it holds for.")
    region: RegionResponse | None
    evidence: list[EvidenceResponse]
    refutation: str = Field(description="What would show that the finding is wrong.")
    images: list[str] = Field(description="References of images that show it, at most 20.")
    links: FindingLinks


class UnavailableResponse(BaseModel):
    """A kind of finding that could not be examined."""

    kind: str
    reason: str = Field(description="Code of the reason.")
    sentence: str


class FindingsResponse(BaseModel):
    """What the stored results of a run say."""

    status: RunStatus = Field(description="Status of the run; findings may follow until it ends.")
    items: list[FindingResponse] = Field(description="The most severe first.")
    unavailable: list[UnavailableResponse]
    next: None = None


class OperatorResponse(BaseModel):
    """Results of the exchange of one property, by class; null where it could not be measured."""

    model_config = ConfigDict(from_attributes=True)

    operator: str
    shares: list[float | None] = Field(
        description="S: share of the evidence for the class that the property carries."
    )
    recall_lost: list[float | None]
    images_turned: list[float | None]
    images: int = Field(description="Exchanged images of each class.")


class ExchangeTestResponse(BaseModel):
    """The exchange test of an epoch."""

    epoch: int
    gap: str | None = Field(description="Why there are no results.")
    excluded_classes: list[int] = Field(description="Without enough images with an object.")
    results: list[OperatorResponse]
    is_complete: bool = Field(description="Whether all operators that apply were tested.")


class ExchangeParameters(BaseModel):
    """The epoch of an exchange test."""

    model_config = ConfigDict(extra="forbid")

    epoch: int | None = Field(None, ge=0, le=10_000, description="Default: the last one.")


class ClassMeanParameters(BaseModel):
    """Epochs and classes of class-mean maps."""

    model_config = ConfigDict(extra="forbid")

    epochs: str | None = Field(
        None,
        max_length=200,
        description="As in `0,1,10` or `0:100:10`. Default: up to eight, denser at the start.",
    )
    class_index: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, max_length=100, description="Classes; repeatable. Default: all."
    )


@router.get("/findings", summary="List the findings of a run")
@requires(READ)
def list_findings(
    services: Services, response: Response, run_id: RunId, accept_language: AcceptLanguage = ""
) -> FindingsResponse:
    """What the stored results say, with evidence. Nothing is computed for it.

    The exchange test of a run of an earlier version is computed by `GET /runs/{id}/exchange`.
    """
    language: Language = (
        "ja" if negotiate_language(accept_language, tuple(LANGUAGES)) == "ja" else "en"
    )
    response.headers["Vary"] = "Accept-Language"
    response.headers["Content-Language"] = language
    return findings_response(read_findings(services.pipeline, run_id), language)


@router.get(
    "/exchange",
    summary="Exchange test of an epoch",
    responses=RESPONSES,
    response_model=ExchangeTestResponse,
)
@requires(READ)
async def read_exchange(
    respond: Respond, run_id: RunId, query: Annotated[ExchangeParameters, Query()]
) -> Response:
    """Which properties of images the network uses. Computed and stored where it is missing."""

    def represent() -> Representation[ExchangeTest]:
        return Representation(
            exchange_test(respond.services.pipeline, run_id, query.epoch),
            "application/json",
            lambda value: _exchange_response(value).model_dump_json().encode(),
        )

    return await respond(ExpensiveRequest("exchange", represent))


@router.get(
    "/exchange-map", summary="Exchange map, as PNG", response_class=Response, responses=_PNG
)
@requires(READ)
async def read_exchange_map(
    respond: Respond, run_id: RunId, query: Annotated[ExchangeParameters, Query()]
) -> Response:
    """For each class, which pixels would turn other images into it."""

    def represent() -> Representation[Picture]:
        picture = exchange_map(respond.services.pipeline, run_id, query.epoch)
        return Representation(picture, "image/png", lambda value: value.content)

    return await respond(ExpensiveRequest("exchange-map", represent))


@router.get(
    "/class-means",
    summary="Mean maps of classes over epochs, as PNG",
    response_class=Response,
    responses=_PNG,
)
@requires(READ)
async def read_class_means(
    respond: Respond, run_id: RunId, query: Annotated[ClassMeanParameters, Query()]
) -> Response:
    """A row per class, a column per epoch, of the mean map of the first test images."""

    def represent() -> Representation[Picture]:
        pipeline = respond.services.pipeline
        picture = class_means(pipeline, run_id, query.epochs, query.class_index)
        return Representation(picture, "image/png", lambda value: value.content)

    return await respond(ExpensiveRequest("class-means", represent))


def findings_response(findings: RunFindings, language: Language) -> FindingsResponse:
    """The findings with their sentences in a language."""
    return FindingsResponse(
        status=findings.status,
        items=[_finding(findings, finding, language) for finding in findings.items],
        unavailable=[
            UnavailableResponse(
                kind=gap.kind, reason=gap.reason, sentence=describe_unavailable(gap, language)
            )
            for gap in findings.unavailable
        ],
    )


def _finding(findings: RunFindings, finding: Finding, language: Language) -> FindingResponse:
    text = describe_finding(finding, findings.class_names, language)
    return FindingResponse(
        id=finding.id,
        kind=finding.kind,
        severity=finding.severity,
        severity_label=text.severity,
        attribute=finding.attribute,
        sentence=text.sentence,
        class_indices=list(finding.class_indices),
        class_names=[findings.class_names[index] for index in finding.class_indices],
        epochs=None if finding.epochs is None else list(finding.epochs),
        region=finding.region and RegionResponse.model_validate(finding.region),
        evidence=[EvidenceResponse.model_validate(item) for item in finding.evidence],
        refutation=text.refutation,
        images=list(finding.images),
        links=_links(findings, finding),
    )


def _links(findings: RunFindings, finding: Finding) -> FindingLinks:
    parameters: dict[str, str] = {}
    if finding.epochs is not None:
        parameters["epoch"] = str(finding.epochs[1])
    probes = [findings.probes.get(index) for index in finding.class_indices]
    for reference in (*finding.images, *filter(None, probes)):
        parameters.setdefault("image", reference)
    parameters["a"] = CLASS_MEAN_METHOD
    is_shortcut = finding.kind.startswith("shortcut")
    has_map = is_shortcut and findings.map_epoch is not None
    return FindingLinks(
        page=f"app/runs/{findings.run_id}?{urlencode(parameters, safe=':/')}",
        picture=f"runs/{findings.run_id}/exchange-map" if has_map else None,
    )


def _exchange_response(test: ExchangeTest) -> ExchangeTestResponse:
    return ExchangeTestResponse(
        epoch=test.epoch,
        gap=test.gap,
        excluded_classes=list(test.excluded_classes),
        results=[OperatorResponse.model_validate(result) for result in test.results],
        is_complete=test.is_complete,
    )
