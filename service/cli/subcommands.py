"""The groups of commands `camreel db` and `camreel token`."""

from typing import Annotated

import typer

from service.cli.options import State, settings_with

db = typer.Typer(help="The database's schema.", no_args_is_help=True, rich_markup_mode=None)

token = typer.Typer(
    help="Tokens: who may ask the service, and for what.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@db.command("upgrade")
def db_upgrade(state_dir: State = None) -> None:
    """Bring the database to this version's schema."""
    from service.cli.database import upgrade

    upgrade(settings_with(state_dir=state_dir))


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

    create(settings_with(state_dir=state_dir), name, scope, expires_days)


@token.command("list")
def token_list(state_dir: State = None) -> None:
    """List tokens: what is known of them, never themselves."""
    from service.cli.access import show

    show(settings_with(state_dir=state_dir))


@token.command("revoke")
def token_revoke(
    token_id: Annotated[int, typer.Argument(min=1, help="The token's id, of token list.")],
    state_dir: State = None,
) -> None:
    """End a token, with every sign-in by it; a running service heeds it within a second."""
    from service.cli.access import revoke

    revoke(settings_with(state_dir=state_dir), token_id)
