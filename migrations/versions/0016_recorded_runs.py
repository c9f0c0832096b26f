"""Networks, tensors and recorded runs

Revision ID: 0016
Revises: 0015
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
OPTIONAL_METRICS = ("test_loss", "test_accuracy", "learning_rate", "seconds")


def upgrade() -> None:
    _change_nullability("NOT NULL", "")
    # Not in batch mode: SQLite adds a column that may be null in place, whatever the table's size.
    op.add_column("epochs", sa.Column("metrics", sa.JSON(), nullable=True))
    op.add_column("epochs", sa.Column("config_changes", sa.JSON(), nullable=True))
    op.create_table(
        "networks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("program", sa.LargeBinary(), nullable=False),
        sa.Column("default_layer", sa.String(length=256), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_networks")),
    )
    op.create_table(
        "recordings",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("network_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_recordings_run_id_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["networks.id"], name=op.f("fk_recordings_network_id_networks")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_recordings")),
    )
    op.create_index(op.f("ix_recordings_network_id"), "recordings", ["network_id"])
    _create_tensors()


def _create_tensors() -> None:
    op.create_table(
        "tensors",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("dtype", sa.String(length=16), nullable=False),
        sa.Column("shape", sa.JSON(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("folder", sa.String(length=100), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("not_finite", sa.BigInteger(), nullable=False),
        sa.Column("used_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_tensors")),
    )
    op.create_index(op.f("ix_tensors_used_at"), "tensors", ["used_at"])
    op.create_table(
        "tensor_uploads",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.Column("folder", sa.String(length=100), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_tensor_uploads")),
    )
    op.create_table(
        "tensor_references",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "epoch"],
            ["epochs.run_id", "epochs.epoch"],
            name=op.f("fk_tensor_references_run_id_epoch_epochs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["tensors.sha256"], name=op.f("fk_tensor_references_sha256_tensors")
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "sha256", name=op.f("pk_tensor_references")),
    )
    op.create_index(op.f("ix_tensor_references_sha256"), "tensor_references", ["sha256"])


def downgrade() -> None:
    for table in ("tensor_references", "tensor_uploads", "tensors", "recordings", "networks"):
        op.drop_table(table)
    op.drop_column("epochs", "config_changes")
    op.drop_column("epochs", "metrics")
    _change_nullability("", "NOT NULL")


def _change_nullability(before: str, after: str) -> None:
    """Let the metrics of an epoch be null, or not, without copying the table.

    A copy would drop the table of epochs, and all that refers to it with it. SQLite documents this
    form for changes that leave the rows as they are (https://sqlite.org/lang_altertable.html, 7).
    """
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        for column in OPTIONAL_METRICS:
            op.alter_column("epochs", column, nullable=not after)
        return
    sql = bind.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = 'epochs'"))
    for column in OPTIONAL_METRICS:
        pattern = rf"(\b{column}\b\"? +[A-Z]+(?:\(\d+\))?) *{before}(?= *,)"
        sql, changes = re.subn(pattern, rf"\1 {after}".rstrip(), sql)
        if changes != 1:
            raise ValueError(f"the definition of epochs.{column} is unexpected")
    version = bind.scalar(sa.text("PRAGMA schema_version"))
    bind.execute(sa.text("PRAGMA writable_schema=ON"))
    bind.execute(
        sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = 'epochs'"),
        {"sql": sql},
    )
    bind.execute(sa.text(f"PRAGMA schema_version={version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema=OFF"))
