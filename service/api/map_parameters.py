"""The query parameters that heatmaps, strips and sheets share."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.methods import METHODS
from service.core.cams.targets import TARGETS
from service.core.render.cells import Style
from service.core.render.colormaps import COLORMAPS
from service.flows.maps.pictures import Rendering
from service.flows.maps.request import MapQuery
from service.flows.maps.scales import ScaleName


def _names(table: dict[str, Any]) -> dict[str, Any]:
    return {"enum": list(table)}


Text = Annotated[str, Field(max_length=100)]
Epochs = Annotated[
    str,
    Field(
        max_length=1000,
        description="Epochs: `7`, `1,5,9` or `1:100:2` (start:stop:step, stop included).",
        examples=["1:100:2"],
    ),
]


METHODS_OWN = "A parameter of some methods; `GET /methods` tells which, with bounds and default."
OWN_PARAMETERS = {name for method in METHODS.values() for name in method.parameters.model_fields}


class WhichMaps(BaseModel):
    """Which method, of which target, with which parameters, at which layer."""

    # An unknown parameter is a typo, and would otherwise be a default that nobody asked for.
    model_config = ConfigDict(extra="forbid")

    method: Text = Field(
        "proposed", description="A name from `GET /methods`.", json_schema_extra=_names(METHODS)
    )
    target: Text | None = Field(
        None,
        description="The score explained, from `GET /targets`. Default: the method's first.",
        json_schema_extra=_names(TARGETS),
    )
    against: Text | None = Field(
        None, description="With `target=contrast`: the class to be told apart from."
    )
    layer: Text | None = Field(
        None,
        description="A layer of the architecture, or several, `conv1,conv2`, whose maps are "
        "averaged. Default: the last convolutional stage.",
    )
    samples: int | None = Field(None, ge=1, le=4096, description=METHODS_OWN)
    noise: float | None = Field(None, gt=0, le=10, allow_inf_nan=False, description=METHODS_OWN)
    steps: int | None = Field(None, ge=1, le=256, description=METHODS_OWN)
    seed: int | None = Field(None, ge=0, le=2**32 - 1, description=METHODS_OWN)
    references: int | None = Field(None, ge=1, le=1000, description=METHODS_OWN)
    gamma: float | None = Field(None, ge=0, le=10, allow_inf_nan=False, description=METHODS_OWN)
    window: int | None = Field(None, ge=1, le=256, description=METHODS_OWN)
    stride: int | None = Field(None, ge=1, le=256, description=METHODS_OWN)
    patch: int | None = Field(None, ge=1, le=256, description=METHODS_OWN)

    @property
    def own(self) -> dict[str, object]:
        """The method's own parameters that were given."""
        return self.model_dump(include=OWN_PARAMETERS, exclude_none=True)

    def query(self, run_id: int) -> MapQuery:
        """As the flows take it."""
        return MapQuery(
            run_id,
            self.method,
            layer=self.layer,
            target=self.target,
            contrast_class=self.against,
            parameters=self.own,
        )


class WhichMap(WhichMaps):
    """Which image, class, method and layer."""

    image: Text | None = Field(
        None, description="`test:7`, `train:12` or `upload:<id>`. Default: the run's first probe."
    )
    class_name: Text | None = Field(
        None,
        alias="class",
        description="Index or name. Default: the image's own label; for an upload, the class that "
        "the epoch's network predicts.",
    )

    def query(self, run_id: int) -> MapQuery:
        """As the flows take it."""
        return replace(super().query(run_id), image=self.image, class_name=self.class_name)


class HowDrawn(BaseModel):
    """Style, scale, colours."""

    style: Style = Field(Style.OVERLAY, description="How the map is drawn.")
    scale: ScaleName = Field(
        ScaleName.MAP,
        description="`map`: equation 3; `strip`: one scale over all epochs of this image, class "
        "and method; `run`: over all epochs of all probes.",
    )
    colormap: Text | None = Field(
        None,
        description="A name from `GET /colormaps`. Default: jet; RdBu_r for `style=signed`.",
        json_schema_extra=_names(COLORMAPS),
    )

    def rendering(self, size: int) -> Rendering:
        """As the flows take it."""
        return Rendering(self.style, self.scale, self.colormap, size)


class CamParameters(WhichMap, HowDrawn):
    """All that a single map's picture depends on."""

    size: int = Field(224, ge=16, le=1024, description="Side in pixels.")


class StripParameters(WhichMap, HowDrawn):
    """All that a strip depends on."""

    epochs: Epochs = "0:"
    size: int = Field(112, ge=16, le=512, description="Side of a cell in pixels.")


class SheetParameters(WhichMaps, HowDrawn):
    """All that a sheet depends on."""

    epochs: Epochs = "1:"
    size: int = Field(48, ge=16, le=256, description="Side of a cell in pixels.")


class BlankParameters(BaseModel):
    """What counts as blank, and where."""

    model_config = ConfigDict(extra="forbid")

    epsilon: float = Field(
        DEFAULT_EPSILON, ge=0, le=1, allow_inf_nan=False, description="A peak up to this is blank."
    )
    epochs: Epochs = "1:"
    method: Annotated[list[Text], Field(max_length=20)] = Field(
        default_factory=list,
        description="Explanations to count, `layer-cam` or `layer-cam/centered`; repeatable. "
        "Default: the two that every run records.",
    )


CamQuery = Annotated[CamParameters, Query()]
StripQuery = Annotated[StripParameters, Query()]
SheetQuery = Annotated[SheetParameters, Query()]
BlankQuery = Annotated[BlankParameters, Query()]
