"""Tokens and the audit log. Access to the database file is permission to create tokens."""

import getpass
from datetime import UTC, datetime

from service.cli.terminal import ValueTable, new_console, print_line, print_table
from service.flows import access
from service.settings import Settings
from service.store import audit, schema, tokens
from service.store.store import open_store
from service.store.tokens import Token


def create_token(settings: Settings, name: str, scope: str, expires_days: int | None) -> None:
    """Print a new token. Only its hash is stored."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        secret, token = access.create_token(store, name, scope, expires_days, actor())
    validity = f"until {_format(token.expires_at)}" if token.expires_at else "until it is revoked"
    print_line(
        f"Token {token.id} ({token.name}, scope {token.scope}) is valid {validity}. It cannot be "
        "shown again: the database stores only its hash.",
        console=new_console(stderr=True),
    )
    # The only line on standard output, so that it can be piped.
    print(secret)  # noqa: T201


def list_tokens(settings: Settings) -> None:
    """Print all tokens without their secrets."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        with store.read_session() as session:
            rows = tokens.list_tokens(session)
    table = ValueTable("id", "name", "scope", "state", "created", "last used", "expires")
    current_time = datetime.now(UTC)
    for token in rows:
        state = _state(token, current_time)
        times = (token.created_at, token.last_used_at, token.expires_at)
        table.add_values(str(token.id), token.name, token.scope, state, *map(_format, times))
    print_table(table)


def revoke_token(settings: Settings, token_id: int) -> None:
    """Revoke a token and its sessions."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        token = access.revoke_token(store, token_id, actor())
        has_no_tokens = access.has_no_tokens(store)
    print_line(f"Token {token.id} ({token.name}) is revoked, with all of its sessions.")
    if has_no_tokens:
        print_line("No valid token is left: on loopback, the service no longer requires one.")


def show_audit_log(settings: Settings, limit: int) -> None:
    """Print the latest changes, newest first."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        with store.read_session() as session:
            entries = audit.list_newest(session, limit=limit)
    table = ValueTable("time", "actor", "action", "target", "outcome", "request")
    for entry in entries:
        table.add_values(
            _format(entry.at),
            entry.actor,
            entry.action,
            entry.target,
            entry.outcome,
            entry.request_id or "",
        )
    print_table(table)


def actor() -> str:
    """The user of the command line, for the audit log."""
    try:
        return f"command line ({getpass.getuser()})"
    except (KeyError, OSError):  # the user of a container may have no name
        return "command line"


def _state(token: Token, time: datetime) -> str:
    if token.is_valid(time):
        return "live"
    return "revoked" if token.revoked_at else "expired"


def _format(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ") if time else "-"
