"""The command line. Commands import what they need when they are called: `--help` waits for no
torch.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.errors import CamreelError

app = typer.Typer(
    help="Watch a convolutional network learn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The database's schema.", no_args_is_help=True)
app.add_typer(db, name="db")

token = typer.Typer(help="Tokens: who may ask the service, and for what.", no_args_is_help=True)
app.add_typer(token, name="token")

Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
]
State = Annotated[Path | None, typer.Option(help="State folder (CAMREEL_STATE_DIR).")]
Data = Annotated[Path | None, typer.Option(help="Datasets (CAMREEL_DATA_DIR).")]
Epochs = Annotated[int, typer.Option(min=1, max=10_000, help="Epochs to train.")]
RunArgument = Annotated[int, typer.Argument(min=1, help="The run's id.")]


def main() -> None:
    """Entry point: an error of ours is a line on standard error, and exit status 1."""
    try:
        app()
    except CamreelError as error:
        sys.exit(f"camreel: {error}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Port = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Serve the API; prints one line with its address once it answers."""
    from service.cli.serving import serve

    serve(_settings(host=host, port=port, state_dir=state_dir, data_dir=data_dir))


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

    settings = _settings(port=port, state_dir=state_dir, data_dir=data_dir)
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
    from service.cli.training import train

    train(_settings(state_dir=state_dir, data_dir=data_dir), spec, change or [])


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
    from service.cli.training import resume

    resume(_settings(state_dir=state_dir, data_dir=data_dir), run, epochs)


@app.command()
def cam(
    run: RunArgument,
    epoch: Annotated[int, typer.Argument(min=0, help="Epoch; 0 is the untrained network.")],
    method: Annotated[str, typer.Option(help="A method's name.")] = "proposed",
    target: Annotated[str | None, typer.Option(help="Default: the method's first.")] = None,
    against: Annotated[str | None, typer.Option(help="The other class of a contrast.")] = None,
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
    from service.cli.looking import cam

    own = dict(one.partition("=")[::2] for one in parameter or [])
    asked = {"method": method, "target": target, "against": against, **own}
    asked |= {"image": image, "class": class_name, "layer": layer}
    drawn = {"style": style, "scale": scale, "colormap": colormap, "size": size}
    cam(_settings(state_dir=state_dir, data_dir=data_dir), run, epoch, asked | drawn, out)


@app.command()
def blanks(
    run: RunArgument,
    epsilon: Annotated[
        float, typer.Option(min=0, max=1, help="A peak up to this is blank.")
    ] = 1e-7,
    epochs: Annotated[str, typer.Option(help="7, 1,5,9 or 1:100:2.")] = "1:",
    method: Annotated[
        list[str] | None,
        typer.Option(help="As layer-cam/centred; repeatable; default: the paper's two."),
    ] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Count a run's blank maps, by method and cause."""
    from service.cli.looking import blanks

    settings = _settings(state_dir=state_dir, data_dir=data_dir)
    blanks(settings, run, epsilon, epochs, method or [])


@app.command()
def maps(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="The npz to write.")],
    epochs: Annotated[str, typer.Option(help="7, 1,5,9 or 1:100:2.")] = "0:",
    method: Annotated[str, typer.Option(help="As layer-cam/centred.")] = "proposed",
    layer: Annotated[str | None, typer.Option(help="Default: the method's own.")] = None,
    images: Annotated[
        int | None, typer.Option(help="The first so many test images; default: the probes.")
    ] = None,
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Write the maps of many images, all classes and epochs as one file of arrays."""
    from service.cli.looking import maps

    settings = _settings(state_dir=state_dir, data_dir=data_dir)
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
        typer.Option(help="As layer-cam/centred; repeatable; default: the paper's two."),
    ] = None,
    language: Annotated[str, typer.Option(help="en or ja.")] = "en",
    state_dir: State = None,
    data_dir: Data = None,
) -> None:
    """Write a run's report: one HTML file that needs no service."""
    from service.cli.looking import report

    settings = _settings(state_dir=state_dir, data_dir=data_dir)
    report(settings, run, epochs, method or [], language, out)


@app.command()
def evaluate(
    run: RunArgument,
    epoch: Annotated[int, typer.Argument(min=0, help="Epoch; 0 is the untrained network.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="As layer-cam/centred; repeatable; default: the paper's two."),
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
    from service.cli.evaluating import evaluate

    asked = {"method": method, "measure": measure, "layer": layer, "images": images, "seed": seed}
    evaluate(_settings(state_dir=state_dir, data_dir=data_dir), run, epoch, asked, json)


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

    settings = _settings(state_dir=out, data_dir=data_dir, max_parallel_runs=parallel)
    paper(settings, recipe or [], seed or [0], epochs, out)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    state_dir: State = None,
) -> None:
    """Check database and checkpoints. Exit 0: clean, 1: warnings or repaired, 2: damage left."""
    from service.cli.keeping import doctor

    settings = _settings(state_dir=state_dir)
    raise typer.Exit(doctor(settings, repair=repair, as_json=as_json))


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(help="The file to write; a folder with file blobs.")],
    state_dir: State = None,
) -> None:
    """Copy the store while it is served, and verify the copy."""
    from service.cli.keeping import backup

    backup(_settings(state_dir=state_dir), out)


@app.command()
def compact(state_dir: State = None) -> None:
    """Write the SQLite file anew without free space; needs as much free disk for that time."""
    from service.cli.keeping import compact

    compact(_settings(state_dir=state_dir))


@app.command("export")
def export_run(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    state_dir: State = None,
) -> None:
    """Write a run that has ended to one file, with the checksum of each of its parts."""
    from service.cli.keeping import export

    export(_settings(state_dir=state_dir), run, out)


@app.command("import")
def import_run(
    file: Annotated[Path, typer.Argument(help="A file that `camreel export` wrote.")],
    state_dir: State = None,
) -> None:
    """Take a run in from a file, under a new id; a file that was tampered with is refused."""
    from service.cli.keeping import import_

    import_(_settings(state_dir=state_dir), file)


@db.command("upgrade")
def db_upgrade(state_dir: State = None) -> None:
    """Bring the database to this version's schema."""
    from service.cli.database import upgrade

    upgrade(_settings(state_dir=state_dir))


@token.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="Whose it is; stands in logs.")],
    scope: Annotated[
        str, typer.Option(help="read; run: starts and ends runs, too; admin: all.")
    ] = "read",
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Default: good until it is revoked.")
    ] = None,
    state_dir: State = None,
) -> None:
    """Make a token and print it, this once."""
    from service.cli.access import create

    create(_settings(state_dir=state_dir), name, scope, expires_days)


@token.command("list")
def token_list(state_dir: State = None) -> None:
    """List tokens: what is known of them, never themselves."""
    from service.cli.access import show

    show(_settings(state_dir=state_dir))


@token.command("revoke")
def token_revoke(
    token_id: Annotated[int, typer.Argument(min=1, help="The token's id, of token list.")],
    state_dir: State = None,
) -> None:
    """End a token, with every sign-in by it; a running service heeds it within a second."""
    from service.cli.access import revoke

    revoke(_settings(state_dir=state_dir), token_id)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many entries.")] = 50,
    state_dir: State = None,
) -> None:
    """List who changed what, newest first."""
    from service.cli.access import show_audit

    show_audit(_settings(state_dir=state_dir), limit)


@app.command()
def openapi(out: Annotated[Path, typer.Argument(help="The file to write.")]) -> None:
    """Write the API's OpenAPI schema."""
    from service.cli.database import write_openapi

    write_openapi(out)


def _settings(**given: Any) -> Any:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        sys.exit(f"camreel: CAMREEL_{name}: {first['msg']}")
