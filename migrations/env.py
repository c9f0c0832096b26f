"""Runs the migrations on the connection that `service.store.schema` passes."""

from alembic import context

from service.store.rows import Base

connection = context.config.attributes["connection"]
# SQLite supports few forms of ALTER TABLE: batch mode copies to a new table.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
