"""Datasets: the list, their reports, and their images."""

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.caching import conditional, content_etag
from service.api.concurrency import run_in_pool
from service.api.expensive import RESPONSES, Prefer, prefers_async
from service.api.middleware.client_disconnect import disconnect_signal
from service.api.pagination import Cursor, Page, PageLimit, decode_cursor, paginate
from service.api.request_context import request_context
from service.api.resources.jobs import accepted_response
from service.api.scopes import requires
from service.api.services import Services
from service.api.work import Content
from service.core.input import InputSpec
from service.flows.dataset_reports import DatasetImageItem, DatasetReport, DatasetStatus
from service.flows.thread_pools import PoolName
from service.store.jobs import JobResult
from service.store.tokens import READ

router = APIRouter(tags=["datasets"])

MAX_SKIPPED_FILES = 1000

DatasetName = Annotated[
    str,
    Path(
        max_length=64,
        description="A name from `GET /datasets`.",
        examples=["mnist", "folder:birds"],
    ),
]
ImageSplit = Annotated[Literal["train", "test"], Query(description="Training or test images.")]
MaxSide = Annotated[
    int | None,
    Query(
        ge=16,
        le=4096,
        description="Scale the image down so that its longer side has at most this many pixels.",
    ),
]


class DatasetResponse(BaseModel):
    """A dataset to train on."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    title: str
    description: str
    license: str = Field(description="Empty for an image folder.")
    status: DatasetStatus = Field(
        description="`ready`; `not-measured`: an image folder whose report was not requested yet; "
        "`missing`: not in the data directory, downloaded by the first run; `unusable`: an image "
        "folder without two classes and images of both splits. In the list, built-in datasets are "
        "`ready` without being read."
    )
    image_shape: tuple[int, int, int] | None = Field(
        description="Channels, height, width; null if images differ or were not measured."
    )
    class_names: list[str]
    train_size: int
    test_size: int
    bundled: bool = Field(description="Part of the installation: needs no download.")
    content_sha256: str | None = Field(
        description="Of an image folder: hash of its splits, classes, paths and contents."
    )
    default_input: InputSpec | None = Field(description="`input` of runs that do not state one.")


class ClassCountResponse(BaseModel):
    """A class and the number of its images."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    train: int
    test: int


class SkippedFileResponse(BaseModel):
    """A file of an image folder that is not used."""

    model_config = ConfigDict(from_attributes=True)

    path: str = Field(description="Relative to the image folder.")
    reason: str


class DatasetReportResponse(DatasetResponse):
    """A dataset and what is known of its images."""

    classes: list[ClassCountResponse] = Field(description="Empty if the files are missing.")
    mean: list[float] | None = Field(description="Mean level by channel, 0..1.")
    std: list[float] | None = Field(description="Standard deviation of the levels, 0..1.")
    imbalance: float | None = Field(
        description="Training images of the largest class by those of the smallest."
    )
    duplicates: int | None = Field(
        description="Test images whose file is equal to a training image's; null if unknown."
    )
    masks: int = Field(description="Images that have a mask in `masks/`.")
    skipped: list[SkippedFileResponse] = Field(
        description=f"Files that are not used; the first {MAX_SKIPPED_FILES}."
    )
    skipped_total: int


class DatasetImageResponse(BaseModel):
    """An image of a dataset."""

    image: str = Field(description="Image reference.", examples=["test:7"])
    label: int = Field(description="Class index.")
    width: int = Field(description="Original width in pixels.")
    height: int


def report_json(report: DatasetReport) -> bytes:
    """The report as a response's body."""
    default_input = report.default_input
    values = {
        **{name: getattr(report, name) for name in DatasetResponse.model_fields},
        "classes": report.classes,
        "mean": default_input and default_input.mean,
        "std": default_input and default_input.std,
        "imbalance": report.imbalance,
        "duplicates": report.duplicates,
        "masks": report.masks,
        "skipped": report.skipped[:MAX_SKIPPED_FILES],
        "skipped_total": len(report.skipped),
    }
    response = DatasetReportResponse.model_validate(values, from_attributes=True)
    return response.model_dump_json().encode()


@router.get("/datasets", summary="List datasets")
@requires(READ)
def list_datasets(services: Services) -> Page[DatasetResponse]:
    """Built-in datasets, then image folders: `folders/<name>` in the data directory."""
    items = [DatasetResponse.model_validate(report) for report in services.datasets.list_all()]
    return Page(items=items, next=None)


@router.get(
    "/datasets/{name}",
    summary="Report of a dataset",
    response_model=DatasetReportResponse,
    responses={status: value for status, value in RESPONSES.items() if status != 304},
)
@requires(READ)
async def read_dataset(
    services: Services, request: Request, name: DatasetName, prefer: Prefer = None
) -> Response:
    """Classes, counts, statistics, duplicates and skipped files.

    The first report of an image folder decodes all of its images, a later one those that are new.
    """
    if prefers_async(prefer):

        def compute() -> JobResult:
            content = Content.of(report_json(services.datasets.get(name)), "application/json")
            return JobResult(content.body, content.media_type, content.headers)

        principal = request_context(request.scope).principal
        owner = principal.rate_limit_key if principal else ""
        identity = hashlib.sha256(repr((owner, "dataset", name)).encode()).hexdigest()
        job = await run_in_pool(
            services.thread_pools[PoolName.WRITING],
            lambda: services.jobs.start("dataset", identity, owner, request.url.path, compute),
        )
        return accepted_response(job)
    body = await run_in_pool(
        services.thread_pools[PoolName.BATCH],
        lambda: report_json(services.datasets.get(name)),
        key=("dataset", name),
        disconnect=disconnect_signal(request.scope),
    )
    return Content.of(body, "application/json").response(request)


@router.get("/datasets/{name}/images", summary="List the images of a dataset")
@requires(READ)
def list_dataset_images(
    services: Services,
    name: DatasetName,
    split: ImageSplit = "test",
    class_name: Annotated[
        str | None,
        Query(
            alias="class", max_length=200, description="Only images of this class: name or index."
        ),
    ] = None,
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Page[DatasetImageResponse]:
    """In the order of their references."""
    after = decode_cursor(cursor)
    items = [
        item
        for item in services.datasets.list_images(name, split, class_name)
        if after is None or item.reference.index > after
    ]
    return paginate(items[: limit + 1], limit, _image_response, lambda item: item.reference.index)


def _image_response(item: DatasetImageItem) -> DatasetImageResponse:
    return DatasetImageResponse(
        image=str(item.reference), label=item.class_index, width=item.width, height=item.height
    )


@router.get(
    "/datasets/{name}/images/{reference}",
    summary="Original image of a dataset as PNG",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
@requires(READ)
def read_dataset_image(
    services: Services,
    request: Request,
    name: DatasetName,
    reference: Annotated[
        str, Path(max_length=100, description="`test:7` or `train:12`.", examples=["test:7"])
    ],
    size: MaxSide = None,
) -> Response:
    """Upright, with its own size and colors. `GET /runs/{run_id}/images/{reference}` is what a
    network sees of it.
    """
    png = services.datasets.image_png(name, reference, size)
    return conditional(request, content_etag(png), lambda: png, "image/png")
