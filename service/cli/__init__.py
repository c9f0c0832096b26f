"""The command line. Commands import what they need when they are called: `--help` waits for no
torch.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from service import __version__
from service.cli import subcommands
from service.cli.options import Data, Epochs, Port, RunArgument, State, settings_with
from service.cli.terminal import print_any_character
from service.errors import CamreelError
from service.names import sanitize_line

app = typer.Typer(
    help="Watch a convolutional network learn.",
    rich_markup_mode=None,  # 1:100:2 would be printed with an emoji in it
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(subcommands.db, name="db")
app.add_typer(subcommands.token, name="token")


def main() -> None:
    """Entry point: an error of ours is a line on standard error, and exit status 1."""
    print_any_character()
    try:
        app()
    except CamreelError as error:
        sys.exit(f"camreel: {sanitize_line(str(error))}")


def _print_version(value: bool) -> None:
    if value:
        print(f"camreel {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
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
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Serve the API; prints one line with its address once it answers."""
    from service.cli.server import serve

    serve(settings_with(host=host, port=port, state_dir=state_dir, data_dir=data_dir))


@app.command()
def demo(
    epochs: Epochs = 20,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Training images an epoch; default as the API's.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="mnist, digits, or auto: MNIST where it can be had.")
    ] = "auto",
    port: Port = None,
    state_dir: State = None,
    data_dir: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the sheets; default: in the state folder.")
    ] = None,
    leave: Annotated[
        bool, typer.Option("--exit", help="End after the pictures instead of serving on.")
    ] = False,
) -> None:
    """Start the service, train the paper's network, and draw where it looks."""
    from service.cli.demo import demo

    settings = settings_with(port=port, state_dir=state_dir, data_dir=data_dir)
    free_port = port is None
    demo(settings, epochs, samples, dataset, out, free_port=free_port, leave=leave)


@app.command()
def train(
    spec: Annotated[
        Path | None, typer.Argument(help="A JSON file with the spec, as POST /runs takes it.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field's value, as in optimizer.name=sgd; repeatable."),
    ] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Train a run here, without a service, into the same database."""
    from service.cli.train import train

    train(settings_with(state_dir=state_dir, data_dir=data_dir), spec, change or [])


@app.command()
def resume(
    run: RunArgument,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Epochs in all; default: what was asked for."),
    ] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Train a run that has ended on from its last epoch, here, without a service."""
    from service.cli.train import resume

    resume(settings_with(state_dir=state_dir, data_dir=data_dir), run, epochs)


@app.command("runs")
def list_runs(
    status: Annotated[
        str | None,
        typer.Option(help="Only queued, running, succeeded, failed or cancelled runs."),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of runs.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    state_dir: State = None,
) -> None:
    """List runs, newest first."""
    from service.cli.runs import list_runs

    list_runs(settings_with(state_dir=state_dir), status, tag, limit, as_json=as_json)


@app.command()
def cancel(run: RunArgument, state_dir: State = None) -> None:
    """Cancel a queued or running run, whichever process trains it; its epochs stay."""
    from service.cli.runs import cancel

    cancel(settings_with(state_dir=state_dir), run)


@app.command()
def delete(
    runs: Annotated[list[int], typer.Argument(min=1, help="Ids of the runs.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    state_dir: State = None,
) -> None:
    """Delete runs with their checkpoints and maps. This cannot be undone."""
    from service.cli.runs import delete

    delete(settings_with(state_dir=state_dir), runs, confirmed=yes)


@app.command()
def cam(
    run: RunArgument,
    epoch: Annotated[int, typer.Argument(min=0, help="Epoch; 0 is the untrained network.")],
    method: Annotated[str, typer.Option(help="A method's name.")] = "proposed",
    target: Annotated[str | None, typer.Option(help="Default: the method's first.")] = None,
    contrast_class: Annotated[
        str | None, typer.Option(help="The other class of the target contrast.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="The method's own, as in samples=16; repeatable."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="test:7; default: the first probe.")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Index or name; default: the image's own.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Default: the last convolution.")] = None,
    style: Annotated[str, typer.Option(help="overlay, heatmap, gray or signed.")] = "overlay",
    scale: Annotated[str, typer.Option(help="map, strip or run.")] = "map",
    colormap: Annotated[str | None, typer.Option(help="A colormap's name.")] = None,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side in pixels.")] = 224,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("cam.png"),
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Write one heatmap as PNG."""
    from service.cli.maps import cam

    own = dict(one.partition("=")[::2] for one in parameter or [])
    asked = {"method": method, "target": target, "contrast_class": contrast_class, **own}
    asked |= {"image": image, "class": class_name, "layer": layer}
    drawn = {"style": style, "scale": scale, "colormap": colormap, "size": size}
    cam(settings_with(state_dir=state_dir, data_dir=data_dir), run, epoch, asked | drawn, out)


@app.command()
def blanks(
    run: RunArgument,
    epsilon: Annotated[
        float, typer.Option(min=0, max=1, help="A peak up to this is blank.")
    ] = 1e-7,
    epochs: Annotated[str, typer.Option(help="7, 1,5,9 or 1:100:2.")] = "1:",
    method: Annotated[
        list[str] | None,
        typer.Option(help="As layer-cam/centered; repeatable; default: the paper's two."),
    ] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Count a run's blank maps, by method and cause."""
    from service.cli.maps import blanks

    settings = settings_with(state_dir=state_dir, data_dir=data_dir)
    blanks(settings, run, epsilon, epochs, method or [])


@app.command()
def maps(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="The npz to write.")],
    epochs: Annotated[str, typer.Option(help="7, 1,5,9 or 1:100:2.")] = "0:",
    method: Annotated[str, typer.Option(help="As layer-cam/centered.")] = "proposed",
    layer: Annotated[str | None, typer.Option(help="Default: the method's own.")] = None,
    images: Annotated[
        int | None, typer.Option(help="The first so many test images; default: the probes.")
    ] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Write the maps of many images, all classes and epochs as one file of arrays."""
    from service.cli.maps import maps

    settings = settings_with(state_dir=state_dir, data_dir=data_dir)
    maps(settings, run, epochs, method, out, layer, images)


@app.command()
def report(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; default: run-<id>-report.html.")
    ] = None,
    epochs: Annotated[str, typer.Option(help="7, 1,5,9 or 1:100:2.")] = "0:",
    method: Annotated[
        list[str] | None,
        typer.Option(help="As layer-cam/centered; repeatable; default: the paper's two."),
    ] = None,
    language: Annotated[str, typer.Option(help="en or ja.")] = "en",
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Write a run's report: one HTML file that needs no service."""
    from service.cli.maps import report

    settings = settings_with(state_dir=state_dir, data_dir=data_dir)
    report(settings, run, epochs, method or [], language, out)


@app.command()
def evaluate(
    run: RunArgument,
    epoch: Annotated[int, typer.Argument(min=0, help="Epoch; 0 is the untrained network.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="As layer-cam/centered; repeatable; default: the paper's two."),
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="A measure's name, of GET /measures; repeatable.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Default: each method's own.")] = None,
    images: Annotated[
        int | None, typer.Option(help="The first so many test images; default: the probes.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    json: Annotated[Path | None, typer.Option(help="A file for the numbers.")] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Judge an epoch's maps by measures, each method beside the random map."""
    from service.cli.evaluation import evaluate

    asked = {"method": method, "measure": measure, "layer": layer, "images": images, "seed": seed}
    evaluate(settings_with(state_dir=state_dir, data_dir=data_dir), run, epoch, asked, json)


@app.command()
def paper(
    recipe: Annotated[
        list[str] | None, typer.Option(help="A recipe's name; repeatable; default: all.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Repeatable; default: 0.")] = None,
    epochs: Epochs = 100,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Runs at once.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the database and pictures.")] = Path(
        "paper"
    ),
    data_dir: Data = None,
) -> None:
    """Do the paper's experiment (section 4) again: sheets, figure 4, and the count of blanks."""
    from service.cli.paper import paper

    settings = settings_with(state_dir=out, data_dir=data_dir, max_parallel_runs=parallel)
    paper(settings, recipe or [], seed or [0], epochs, out)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    state_dir: State = None,
) -> None:
    """Check database and checkpoints. Exit 0: clean, 1: warnings or repaired, 2: damage left."""
    from service.cli.storage import doctor

    settings = settings_with(state_dir=state_dir)
    raise typer.Exit(doctor(settings, repair=repair, as_json=as_json))


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(help="The file to write; a folder with file blobs.")],
    state_dir: State = None,
) -> None:
    """Copy the store while it is served, and verify the copy."""
    from service.cli.storage import backup

    backup(settings_with(state_dir=state_dir), out)


@app.command()
def compact(state_dir: State = None) -> None:
    """Write the SQLite file anew without free space; needs as much free disk for that time."""
    from service.cli.storage import compact

    compact(settings_with(state_dir=state_dir))


@app.command("export")
def export_run(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    state_dir: State = None,
) -> None:
    """Write a run that has ended to one file, with the checksum of each of its parts."""
    from service.cli.storage import export

    export(settings_with(state_dir=state_dir), run, out)


@app.command("import")
def import_run(
    file: Annotated[Path, typer.Argument(help="A file that `camreel export` wrote.")],
    state_dir: State = None,
) -> None:
    """Take a run in from a file, under a new id; a file that was tampered with is refused."""
    from service.cli.storage import import_

    import_(settings_with(state_dir=state_dir), file)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many entries.")] = 50,
    state_dir: State = None,
) -> None:
    """List who changed what, newest first."""
    from service.cli.access import show_audit

    show_audit(settings_with(state_dir=state_dir), limit)


@app.command()
def openapi(out: Annotated[Path, typer.Argument(help="The file to write.")]) -> None:
    """Write the API's OpenAPI schema."""
    from service.cli.database import write_openapi

    write_openapi(out)
