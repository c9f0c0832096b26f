"""The network of a run: its layers, whether it consists of stages or is described by a program."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.pagination import RunId
from service.api.resources.networks import GridResponse
from service.api.scopes import requires
from service.api.services import Services
from service.core.models import Layers
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["networks"])


class RunLayerResponse(BaseModel):
    """A layer that has maps."""

    name: str
    grid: GridResponse


class RunNetworkResponse(BaseModel):
    """The network of a run."""

    input_shape: tuple[int, int, int] = Field(description="Channels, height and width.")
    classes: int
    layers: list[RunLayerResponse] = Field(
        description="From the image up. Empty before epoch 0 of a network that is described by a "
        "program."
    )
    default_layer: str | None = Field(description="Null if no layer is known.")


@router.get("/network", summary="Get the network of a run")
@requires(READ)
def read_run_network(services: Services, run_id: RunId) -> RunNetworkResponse:
    """The layers that maps of this run can be computed for."""
    run = services.pipeline.resolver.resolve_run(run_id)
    return RunNetworkResponse(
        input_shape=run.image_shape,
        classes=len(run.class_names),
        layers=_layers(run.layers),
        default_layer=run.layers.default_layer if run.layers.shapes else None,
    )


def _layers(layers: Layers) -> list[RunLayerResponse]:
    return [
        RunLayerResponse(
            name=name, grid=GridResponse(channels=channels, height=height, width=width)
        )
        for name, (channels, height, width) in layers.shapes.items()
    ]
