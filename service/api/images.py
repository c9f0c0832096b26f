"""Input images."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from service.api.caching import conditional
from service.api.services import Services
from service.core.datasets import DATASETS

router = APIRouter(tags=["images"])


@router.get(
    "/images/{reference}",
    summary="An input image, as PNG",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def read_image(
    services: Services,
    request: Request,
    reference: Annotated[
        str, Path(max_length=100, description="`test:7` or `train:12`.", examples=["test:7"])
    ],
    dataset: Annotated[
        str, Query(max_length=64, json_schema_extra={"enum": list(DATASETS)})
    ] = "mnist",
) -> Response:
    """The image at its own size, lossless."""
    image = services.viewer.image(dataset, reference)
    etag = hashlib.sha256(image.png).hexdigest()[:32]
    return conditional(request, etag, lambda: image.png, "image/png", immutable=True)
