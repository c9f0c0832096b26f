"""The command line. Commands import what they need when called, so `--help` needs no torch."""

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from service import __version__
from service.cli import experiments, findings, maintenance, photos
from service.cli.options import (
    DataDir,
    EpochCount,
    EpochNumber,
    EpochSelector,
    MethodNames,
    Port,
    RunId,
    StateDir,
    TestImageCount,
    Workers,
    load_settings,
)
from service.cli.terminal import escape_unencodable_characters
from service.core.cams import DEFAULT_EPSILON
from service.core.render import DEFAULT_OPACITY
from service.errors import CamreelError
from service.names import sanitize_line

app = typer.Typer(
    help="Train image classifiers and see where they look at every epoch.",
    rich_markup_mode=None,  # rich would print an emoji for the ":100:" of 1:100:2
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ALLOCATIONS_PER_COLLECTION = 50_000
"""Python's 700 runs hundreds of collections while torch is imported, which free nothing."""


def main() -> None:
    """Run a command. A CamreelError becomes one line on standard error and exit status 1."""
    escape_unencodable_characters()
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
    try:
        app()
    except CamreelError as error:
        sys.exit(f"camreel: {sanitize_line(str(error))}")


def _print_version(value: bool) -> None:
    if value:
        print(f"camreel {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Port = None,
    workers: Workers = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Serve the page and the API. Prints the address once the server is ready."""
    settings = load_settings(
        host=host, port=port, workers=workers, state_dir=state_dir, data_dir=data_dir
    )
    if settings.workers > 1:
        from service.cli.supervisor import supervise as serve
    else:
        from service.cli.server import serve
    serve(settings)


@app.command()
def demo(
    epochs: EpochCount = 20,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Training images per epoch. Default: the API's.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="mnist, digits, or auto: MNIST if available, otherwise digits.")
    ] = "auto",
    port: Port = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for the contact sheets. Default: demo in the state folder."
        ),
    ] = None,
    exit_when_done: Annotated[
        bool, typer.Option("--exit", help="Exit after drawing the contact sheets.")
    ] = False,
) -> None:
    """Serve, train the paper's network, and draw its maps."""
    from service.cli.demo import demo

    demo(
        load_settings(port=port, state_dir=state_dir, data_dir=data_dir),
        epochs=epochs,
        samples=samples,
        dataset=dataset,
        output_folder=output,
        use_any_port=port is None,
        exit_when_done=exit_when_done,
    )


@app.command()
def train(
    spec: Annotated[
        Path | None, typer.Argument(help="JSON file with the run's settings, as for POST /runs.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting, such as optimizer.name=sgd; repeatable."),
    ] = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train a run in this process, without a service."""
    from service.cli.train import train

    train(load_settings(state_dir=state_dir, data_dir=data_dir), spec, overrides or [])


@app.command()
def resume(
    run: RunId,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="Train until this epoch. Default: the run's own setting."
        ),
    ] = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Resume a run in this process, without a service."""
    from service.cli.train import resume

    resume(load_settings(state_dir=state_dir, data_dir=data_dir), run, epochs)


@app.command("runs")
def list_runs(
    status: Annotated[
        str | None,
        typer.Option(help="Only runs that are queued, running, succeeded, failed or cancelled."),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of runs.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    state_dir: StateDir = None,
) -> None:
    """List runs, newest first."""
    from service.cli.runs import list_runs

    list_runs(load_settings(state_dir=state_dir), status, tag, limit, as_json=as_json)


@app.command()
def cancel(run: RunId, state_dir: StateDir = None) -> None:
    """Cancel a queued or running run. Its completed epochs are kept."""
    from service.cli.runs import cancel

    cancel(load_settings(state_dir=state_dir), run)


@app.command()
def delete(
    runs: Annotated[list[int], typer.Argument(min=1, help="Ids of the runs.")],
    skip_confirmation: Annotated[
        bool, typer.Option("--yes", help="Skip the confirmation prompt.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Delete runs with their checkpoints and maps. This cannot be undone."""
    from service.cli.runs import delete

    delete(load_settings(state_dir=state_dir), runs, confirmed=skip_confirmation)


@app.command()
def cam(
    run: RunId,
    epoch: EpochNumber,
    method: Annotated[str, typer.Option(help="Name of the method.")] = "proposed",
    target: Annotated[
        str | None, typer.Option(help="Score to explain. Default: the method's first target.")
    ] = None,
    contrast_class: Annotated[
        str | None, typer.Option(help="The other class, for --target contrast.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="Parameter of the method, such as samples=16; repeatable."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Image, such as test:7. Default: the run's first probe.")
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="Class to explain, by index or name. Default: the label."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer. Default: the last convolutional layer.")
    ] = None,
    style: Annotated[str, typer.Option(help="overlay, heatmap, gray or signed.")] = "overlay",
    scale: Annotated[
        str, typer.Option(help="Maps that share the color scale: map (none), strip or run.")
    ] = "map",
    colormap: Annotated[
        str | None, typer.Option(help="Name of a colormap. Default: viridis; RdBu_r for signed.")
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Width and height in pixels.")] = 224,
    opacity: Annotated[
        float, typer.Option(min=0, max=1, help="Opacity of an overlay's colors at the map's peak.")
    ] = DEFAULT_OPACITY,
    output: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("cam.png"),
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Write one class activation map as a PNG file."""
    from service.cli.maps import cam

    query = {"method": method, "target": target, "contrast_class": contrast_class, "image": image}
    query |= {"class_name": class_name, "layer": layer}
    rendering = {"style": style, "scale": scale, "colormap": colormap}
    cam(
        load_settings(state_dir=state_dir, data_dir=data_dir),
        run,
        epoch,
        output,
        query=query,
        parameters=parameter or [],
        rendering=rendering | {"size": size, "opacity": opacity},
    )


@app.command()
def blanks(
    run: RunId,
    epsilon: Annotated[
        float, typer.Option(min=0, max=1, help="A map is blank if its peak is at most this.")
    ] = DEFAULT_EPSILON,
    epochs: EpochSelector = "1:",
    method: MethodNames = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Count a run's blank maps by method and cause."""
    from service.cli.maps import blanks

    settings = load_settings(state_dir=state_dir, data_dir=data_dir)
    blanks(settings, run, epsilon, epochs, method or [])


@app.command()
def maps(
    run: RunId,
    output: Annotated[Path, typer.Argument(help="NPZ file to write.")],
    epochs: EpochSelector = "0:",
    method: Annotated[
        str, typer.Option(help="Method with an optional target, such as layer-cam/centered.")
    ] = "proposed",
    layer: Annotated[str | None, typer.Option(help="Layer. Default: the method's default.")] = None,
    images: TestImageCount = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Export maps of many images and epochs, for all classes, to NPZ."""
    from service.cli.maps import maps

    settings = load_settings(state_dir=state_dir, data_dir=data_dir)
    maps(settings, run, epochs, method, output, layer, images)


@app.command()
def report(
    run: RunId,
    output: Annotated[
        Path | None,
        typer.Option("--out", help="HTML file to write. Default: run-<id>-report.html."),
    ] = None,
    epochs: EpochSelector = "0:",
    method: MethodNames = None,
    language: Annotated[str, typer.Option(help="en or ja.")] = "en",
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Write a run's report as one self-contained HTML file."""
    from service.cli.report import report

    settings = load_settings(state_dir=state_dir, data_dir=data_dir)
    report(settings, run, epochs, method or [], language, output)


@app.command()
def evaluate(
    run: RunId,
    epoch: EpochNumber,
    method: MethodNames = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Name of a measure, as in GET /measures; repeatable."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer. Default: each method's default.")
    ] = None,
    images: TestImageCount = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed.")] = 0,
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Evaluate maps with measures, compared with random maps."""
    from service.cli.evaluation import evaluate

    evaluate(
        load_settings(state_dir=state_dir, data_dir=data_dir),
        run,
        epoch,
        methods=method,
        measures=measure,
        layer=layer,
        image_count=images,
        seed=seed,
        output=json,
    )


@app.command()
def paper(
    recipe: Annotated[
        list[str] | None, typer.Option(help="Name of a recipe; repeatable. Default: all.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Random seed; repeatable. Default: 0.")
    ] = None,
    epochs: EpochCount = 100,
    parallel: Annotated[
        int, typer.Option(min=1, max=64, help="Number of runs to train in parallel.")
    ] = 1,
    output: Annotated[
        Path, typer.Option("--out", help="Folder for the database, contact sheets and tables.")
    ] = Path("paper"),
    data_dir: DataDir = None,
) -> None:
    """Reproduce the paper's experiment (section 4).

    Writes contact sheets, figure 4 and a table of blank counts.
    """
    from service.cli.paper import paper

    settings = load_settings(state_dir=output, data_dir=data_dir, max_parallel_runs=parallel)
    paper(settings, recipe or [], seed or [0], epochs, output)


@app.command()
def openapi(output: Annotated[Path, typer.Argument(help="JSON file to write.")]) -> None:
    """Write the OpenAPI schema of the API."""
    from service.cli.openapi import write_openapi

    write_openapi(output)


app.add_typer(maintenance.store)
app.add_typer(photos.photos)
app.add_typer(findings.findings)
app.add_typer(maintenance.db, name="db")
app.add_typer(maintenance.token, name="token")
app.add_typer(maintenance.dataset, name="dataset")
app.add_typer(experiments.experiment, name="experiment")
