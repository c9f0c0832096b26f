"""Networks: programs that describe image classifiers."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from service.api.concurrency import run_in_pool
from service.api.scopes import requires
from service.api.services import Services
from service.core.network_descriptions import MAX_PROGRAM_BYTES, NetworkDescription
from service.flows.thread_pools import PoolName
from service.store.tokens import READ, RUN

router = APIRouter(tags=["networks"])

NetworkId = Annotated[
    str,
    Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the program's canonical JSON."),
]


class GridResponse(BaseModel):
    """Positions of a layer's value, and its channels."""

    channels: int
    height: int
    width: int


class LayerResponse(BaseModel):
    """A layer that has maps."""

    name: str = Field(description="Path of the module whose result it is; `@2`: the second call.")
    aliases: list[str] = Field(description="Other modules that return the same value.")
    grid: GridResponse
    prefix_tokens: int = Field(description="Tokens before those of the positions.")


class NetworkResponse(BaseModel):
    """A network, by its program."""

    id: str = Field(description="SHA-256 of the program's canonical JSON, in hexadecimal digits.")
    input_shape: tuple[int, int, int] = Field(description="Channels, height and width.")
    classes: int
    layers: list[LayerResponse]
    default_layer: str | None = Field(description="Null if no layer has maps.")
    tensors: int = Field(description="Number of tensors of each epoch.")


@router.post(
    "/networks",
    status_code=201,
    summary="Store a network",
    responses={
        200: {"description": "The network is stored already.", "model": NetworkResponse},
        201: {"headers": {"Location": {"schema": {"type": "string"}}}},
        413: {"description": f"The program has more than {MAX_PROGRAM_BYTES:,} bytes."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
)
@requires(RUN)
async def create_network(
    services: Services, request: Request, response: Response
) -> NetworkResponse:
    """Verify a program and store it. Nothing of it is executed.

    Equal programs are one network. 422 names the field that is wrong.
    """
    try:
        content = await request.body()
    except ClientDisconnect as error:
        raise HTTPException(400, "The request body is incomplete.") from error
    # Not in the pool of writers: the dry run of a large program takes seconds.
    network, is_new = await run_in_pool(
        services.thread_pools[PoolName.BATCH], lambda: services.networks.add(content)
    )
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/networks/{network.id}"
    return _network_response(network)


@router.get("/networks/{network_id}", summary="Get a network")
@requires(READ)
def read_network(services: Services, network_id: NetworkId) -> NetworkResponse:
    """The layers of a network, in the order of its steps."""
    return _network_response(services.networks.get(network_id))


@router.get(
    "/networks/{network_id}/program",
    summary="Get a network's program",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
@requires(READ)
def read_program(services: Services, network_id: NetworkId) -> Response:
    """The program as canonical JSON, whose SHA-256 is the network's id."""
    program = services.networks.get(network_id).program.to_json()
    return Response(program, media_type="application/json")


def _network_response(network: NetworkDescription) -> NetworkResponse:
    program = network.program
    return NetworkResponse(
        id=network.id,
        input_shape=program.input_shape,
        classes=program.classes,
        layers=[
            LayerResponse(
                name=layer.name,
                aliases=list(layer.aliases),
                grid=GridResponse(
                    channels=layer.grid.channels, height=layer.grid.height, width=layer.grid.width
                ),
                prefix_tokens=layer.grid.prefix_tokens,
            )
            for layer in network.layers
        ],
        default_layer=network.default_layer,
        tensors=len(program.tensors),
    )
