"""Commands that maintain the store, and the groups `camreel db`, `token` and `dataset`."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import DataDir, RunId, StateDir, load_settings

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

store = typer.Typer()  # its commands are top-level commands

db = typer.Typer(help="Manage the database schema.", no_args_is_help=True, rich_markup_mode=None)

token = typer.Typer(
    help="Manage access tokens.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

dataset = typer.Typer(help="Manage datasets.", no_args_is_help=True, rich_markup_mode=None)

DatasetName = Annotated[str, typer.Argument(help="Name of the dataset, such as folder:birds.")]


@db.command("upgrade")
def db_upgrade(state_dir: StateDir = None) -> None:
    """Migrate the database to the schema of this version."""
    from service.cli.database import upgrade

    upgrade(load_settings(state_dir=state_dir))


@token.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="Name of the owner, shown in logs.")],
    scope: Annotated[
        str, typer.Option(help="read; run (also start and cancel runs); or admin (everything).")
    ] = "read",
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Days of validity. Default: unlimited.")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Create a token and print it. It cannot be shown again."""
    from service.cli.access import create_token

    create_token(load_settings(state_dir=state_dir), name, scope, expires_days)


@token.command("list")
def token_list(state_dir: StateDir = None) -> None:
    """List tokens without their secrets."""
    from service.cli.access import list_tokens

    list_tokens(load_settings(state_dir=state_dir))


@token.command("revoke")
def token_revoke(
    token_id: Annotated[int, typer.Argument(min=1, help="Id of the token, from token list.")],
    state_dir: StateDir = None,
) -> None:
    """Revoke a token and its sessions. A running service rejects it within a second."""
    from service.cli.access import revoke_token

    revoke_token(load_settings(state_dir=state_dir), token_id)


@dataset.command("list")
def dataset_list(state_dir: StateDir = None, data_dir: DataDir = None) -> None:
    """List the built-in datasets and the image folders."""
    from service.cli.datasets import list_datasets

    list_datasets(load_settings(state_dir=state_dir, data_dir=data_dir))


@dataset.command("report")
def dataset_report(name: DatasetName, state_dir: StateDir = None, data_dir: DataDir = None) -> None:
    """Print classes, statistics and skipped files. New images of a folder are decoded."""
    from service.cli.datasets import report_dataset

    report_dataset(load_settings(state_dir=state_dir, data_dir=data_dir), name)


@dataset.command("add")
def dataset_add(
    name: Annotated[str, typer.Argument(help="The dataset will be folder:NAME.")],
    file: Annotated[Path, typer.Argument(help="Zip of train/<class>/... and test/<class>/...")],
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Add an image folder from a zip archive."""
    from service.cli.datasets import add_dataset

    add_dataset(load_settings(state_dir=state_dir, data_dir=data_dir), name, file)


@dataset.command("delete")
def dataset_delete(name: DatasetName, state_dir: StateDir = None, data_dir: DataDir = None) -> None:
    """Delete an image folder that no queued or running run needs."""
    from service.cli.datasets import delete_dataset

    delete_dataset(load_settings(state_dir=state_dir, data_dir=data_dir), name)


@store.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    state_dir: StateDir = None,
) -> None:
    """Check the database and checkpoints.

    Exit status: 0 if nothing is wrong, 1 for warnings or repaired damage, 2 for unrepaired damage.
    """
    from service.cli.storage import doctor

    settings = load_settings(state_dir=state_dir)
    raise typer.Exit(doctor(settings, repair=repair, as_json=as_json))


@store.command()
def backup(
    output: Annotated[
        Path, typer.Argument(help="File to write; a folder if checkpoints are stored as files.")
    ],
    state_dir: StateDir = None,
) -> None:
    """Back up the store and verify the copy. A service may be running."""
    from service.cli.storage import backup

    backup(load_settings(state_dir=state_dir), output)


@store.command()
def compact(state_dir: StateDir = None) -> None:
    """Rewrite the SQLite file without free space. Temporarily needs as much free disk space."""
    from service.cli.storage import compact

    compact(load_settings(state_dir=state_dir))


@store.command("export")
def export_run(
    run: RunId,
    output: Annotated[Path, typer.Argument(help="File to write.")],
    state_dir: StateDir = None,
) -> None:
    """Export a run that has ended to one file with checksums."""
    from service.cli.storage import export_to_file

    export_to_file(load_settings(state_dir=state_dir), run, output)


@store.command("import")
def import_run(
    file: Annotated[
        Path, typer.Argument(help="File written by `camreel export`, or a recorder's spool folder.")
    ],
    state_dir: StateDir = None,
) -> None:
    """Import a run from a file under a new id. A file with a wrong checksum is rejected.

    Of a spool folder, what is new is added to its run; the folder is kept.
    """
    from service.cli.storage import import_from_file, import_from_spool

    settings = load_settings(state_dir=state_dir)
    if file.is_dir():
        import_from_spool(settings, file)
    else:
        import_from_file(settings, file)


@store.command("import-checkpoints")
def import_checkpoints(
    patterns: Annotated[
        list[str], typer.Argument(help="Files, or patterns such as 'runs/*/epoch-*.pt'.")
    ],
    model: Annotated[
        str, typer.Option(help="Function that makes the network, as in package.module:factory.")
    ],
    images: Annotated[
        Path, typer.Option(help="Folder of pictures to explain, if possible in class folders.")
    ],
    size: Annotated[
        list[int], typer.Option(min=1, max=1024, help="Side of the input, or height and width.")
    ],
    classes: Annotated[
        Path | None, typer.Option(help="File with the name of a class in each line.")
    ] = None,
    mean: Annotated[
        list[float] | None, typer.Option(help="Mean by channel, 0..1. Default: ImageNet's.")
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option(help="Standard deviation by channel. Default: ImageNet's.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "",
    state_dir: StateDir = None,
) -> None:
    """Import checkpoints of a training that was not recorded as a run.

    Runs the factory, and no code of the checkpoints.
    """
    from service.cli.checkpoints import CheckpointOptions, import_checkpoint_files

    options = CheckpointOptions(
        model=model,
        patterns=patterns,
        images=images,
        classes=classes,
        size=size,
        mean=mean or IMAGENET_MEAN,
        std=std or IMAGENET_STD,
        name=name,
    )
    import_checkpoint_files(load_settings(state_dir=state_dir), options)


@store.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of entries.")] = 50,
    state_dir: StateDir = None,
) -> None:
    """List who changed what and when, newest first."""
    from service.cli.access import show_audit_log

    show_audit_log(load_settings(state_dir=state_dir), limit)
