"""Maps of a run without a service: one picture, an export of many, and blank counts."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from service.cli.terminal import ValueTable, print_line, print_table
from service.core.cams.methods import PAPER_METHODS
from service.core.render.cells import Style
from service.counts import Count
from service.errors import UnknownName
from service.files import check_output, write_file
from service.flows.maps.blanks import blanks as count_blanks
from service.flows.maps.export import export_maps
from service.flows.maps.pictures import Rendering
from service.flows.maps.request import MapQuery
from service.flows.maps.scales import ScaleName
from service.flows.services import open_services
from service.settings import Settings


def cam(
    settings: Settings,
    run: int,
    epoch: int,
    output: Path,
    *,
    query: Mapping[str, Any],
    parameters: Sequence[str],
    rendering: Mapping[str, Any],
) -> None:
    """Write one map as PNG. `parameters` are the method's own, such as `samples=16`."""
    parsed_rendering = _rendering(**rendering)
    parsed_parameters = dict(text.partition("=")[::2] for text in parameters)
    check_output(output)
    services = open_services(settings)
    map_query = MapQuery(run, parameters=parsed_parameters, **query)
    with closing(services.pipeline):
        picture = services.pictures.cam(map_query, epoch, parsed_rendering).compute().value
    write_file(output, picture.content)
    peak = picture.peak
    peak_text = f"peak {peak:.3g}, " if peak is not None and math.isfinite(peak) else ""
    print_line(f"{output}: {peak_text}blank: {picture.blank_cause}")


def maps(
    settings: Settings,
    run: int,
    epochs: str,
    method: str,
    output: Path,
    layer: str | None,
    image_count: int | None,
) -> None:
    """Export maps as NPZ."""
    with closing(open_services(settings).pipeline) as pipeline:
        map_count = export_maps(
            pipeline, run, epochs, method, output, layer=layer, image_count=image_count
        )
    print_line(f"{output}: {Count(map_count):map|maps}")


def blanks(
    settings: Settings, run: int, epsilon: float, epochs: str, methods: Sequence[str]
) -> None:
    """Print the number of blank maps by method and cause."""
    with closing(open_services(settings).pipeline) as pipeline:
        deferred = count_blanks(pipeline, run, epochs, epsilon, methods or PAPER_METHODS)
        counts = deferred.compute().value.methods
    causes = list(next(iter(counts.values())).by_cause)
    table = ValueTable(title=f"Blank maps of run {run}: peak <= {epsilon:g}")
    for header in ("method", "maps", "blank", *causes):
        table.add_column(header, justify="left" if header == "method" else "right")
    for method, count in counts.items():
        cells = (count.total, count.blank, *(count.by_cause[cause] for cause in causes))
        table.add_values(method, *map(str, cells))
    print_table(table)


def _rendering(
    *, style: str, scale: str, colormap: str | None, size: int, opacity: float
) -> Rendering:
    """Raises UnknownName."""
    if style not in set(Style):
        raise UnknownName("style", style, Style)
    if scale not in set(ScaleName):
        raise UnknownName("scale", scale, ScaleName)
    return Rendering(Style(style), ScaleName(scale), colormap, size, opacity)
