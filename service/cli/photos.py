"""The command that explains a photo, which needs no store."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import DataDir, load_settings

photos = typer.Typer()  # its command is a top-level command


@photos.command()
def explain(
    photo: Annotated[Path, typer.Argument(help="PNG, JPEG or WebP file.")],
    network: Annotated[
        str, typer.Option(help="Classifier of torchvision, such as torchvision:resnet18.")
    ],
    weights: Annotated[
        str,
        typer.Option(
            help="default (torchvision's, downloaded once), file:<name> (in weights/ of the data "
            "directory), or none (random)."
        ),
    ] = "default",
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="Class to explain, by name or number; repeatable. Default: the top two."
        ),
    ] = None,
    class_names: Annotated[
        Path | None,
        typer.Option("--classes", help="Text file with the names of the classes, one per line."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="Method with an optional target, such as layer-cam/centered.")
    ] = "proposed",
    layer: Annotated[str | None, typer.Option(help="Layer. Default: the network's.")] = None,
    top: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of probabilities to print.")
    ] = 5,
    size: Annotated[
        int, typer.Option(min=16, max=1024, help="Width and height of an overlay in pixels.")
    ] = 448,
    output: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder, or a .png file for the picture of all overlays side by side."
        ),
    ] = Path(),
    data_dir: DataDir = None,
) -> None:
    """Explain a photo by a pretrained network: top classes, and an overlay per class."""
    from service.cli.explain import explain
    from service.flows.photos import PhotoQuery

    query = PhotoQuery(photo, network, weights, class_name or [], class_names, method, layer)
    explain(load_settings(data_dir=data_dir), query, output, top_count=top, size=size)
