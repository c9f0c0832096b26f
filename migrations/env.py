"""Runs the migrations on the connection that `service.store.schema` hands over."""

from alembic import context

from service.store.rows import Base

connection = context.config.attributes["connection"]
# SQLite cannot alter most of a table: batch mode makes a new one and copies.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
