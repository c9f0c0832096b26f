"""Tokens and the audit log, on the database itself: whoever may read its file may give tokens."""

import getpass
from datetime import UTC, datetime

from service.cli.terminal import ValueTable, new_console, print_line, print_table
from service.flows import access
from service.settings import Settings
from service.store import audit, schema, tokens
from service.store.store import open_store


def create(settings: Settings, name: str, scope: str, expires_days: int | None) -> None:
    """Print a new token, this once."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        secret, token = access.create_token(store, name, scope, expires_days, actor())
    until = f"until {_moment(token.expires_at)}" if token.expires_at else "until it is revoked"
    print_line(
        f"Token {token.id} ({token.name}, scope {token.scope}) is good {until}. It is shown only "
        "now; the database has its hash.",
        console=new_console(stderr=True),
    )
    # Alone on standard output, to be piped to where it is kept.
    print(secret)  # noqa: T201


def show(settings: Settings) -> None:
    """Print all tokens; never themselves."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        with store.read_session() as session:
            found = tokens.list_tokens(session)
    table = ValueTable("id", "name", "scope", "state", "created", "last used", "expires")
    now = datetime.now(UTC)
    for token in found:
        state = "live" if token.is_valid(now) else "revoked" if token.revoked_at else "expired"
        moments = (token.created_at, token.last_used_at, token.expires_at)
        table.add_values(
            str(token.id), token.name, token.scope, state, *(_moment(one) for one in moments)
        )
    print_table(table)


def revoke(settings: Settings, token_id: int) -> None:
    """End a token."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        token = access.revoke_token(store, token_id, actor())
        unclaimed = access.has_no_tokens(store)
    print_line(f"Token {token.id} ({token.name}) is revoked, with every sign-in by it.")
    if unclaimed:
        print_line("No token is left: on loopback the service asks nobody who they are again.")


def show_audit(settings: Settings, limit: int) -> None:
    """Print the last changes, newest first."""
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        with store.read_session() as session:
            found = audit.list_newest(session, limit=limit)
    table = ValueTable("when", "who", "what", "on", "outcome", "request")
    for entry in found:
        table.add_values(
            _moment(entry.at),
            entry.actor,
            entry.action,
            entry.target,
            entry.outcome,
            entry.request_id or "",
        )
    print_table(table)


def actor() -> str:
    """Who works on the command line, for the audit log."""
    try:
        return f"command line ({getpass.getuser()})"
    except (KeyError, OSError):  # a container's user has no name
        return "command line"


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ") if moment else "-"
