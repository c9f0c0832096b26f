"""Whether the database takes writes now."""

from sqlalchemy import Engine, text

from service.errors import StoreBusy
from service.store.database import BUSY_TIMEOUT_SECONDS, outside_transactions

PATIENCE_SECONDS = 2


def check_writes(engine: Engine) -> None:
    """Take the right to write, and give it back. Raises StoreBusy where it cannot be had soon."""
    with outside_transactions(engine) as connection:
        if engine.dialect.name == "postgresql":
            if connection.scalar(text("SELECT pg_is_in_recovery()")):
                raise StoreBusy("The database takes no writes: it is a standby.")
            return
        connection.exec_driver_sql(f"PRAGMA busy_timeout={PATIENCE_SECONDS * 1000}")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("ROLLBACK")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000:.0f}")
