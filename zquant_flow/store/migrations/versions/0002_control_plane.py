"""What the control plane needs: tallies for exact totals, indexes for lists and streams, keys, tokens, backfills."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LISTED = sa.text("NOT inline")
_ASKING = sa.text("waiting_for = 'approval'")
_BY_TIME = {
    "ix_executions_created_time": ["created_time", "id", "task_id"],
    "ix_executions_task_id_created_time": ["task_id", "created_time"],
    "ix_executions_status_created_time": ["status", "created_time", "id", "task_id"],
    "ix_executions_task_id_status_created_time": ["task_id", "status", "created_time"],
    "ix_executions_trigger_type_created_time": ["trigger_type", "created_time", "id", "status"],
}
_FINAL = "NOT inline AND status NOT IN ('pending', 'running', 'paused')"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("change_seq", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("adhoc", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.add_column("tasks", sa.Column("hook_generation", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("files_since", sa.BigInteger()))
    op.add_column("load_errors", sa.Column("words", sa.Text()))
    op.add_column("executions", sa.Column("backfill_id", sa.BigInteger()))
    op.add_column("executions", sa.Column("event", sa.Text()))
    op.add_column("executions", sa.Column("deadline", sa.BigInteger()))
    missed = sa.Column[bool]("deadline_missed", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    op.add_column("executions", missed)
    op.add_column("executions", sa.Column("marked_status", sa.String(length=16)))
    op.add_column("executions", sa.Column("marked_by", sa.String(length=100)))
    op.add_column("executions", sa.Column("marked_time", sa.BigInteger()))
    op.add_column("executions", sa.Column("result_size", sa.BigInteger()))
    op.add_column("executions", sa.Column("handle", sa.Text()))
    op.add_column(
        "executions", sa.Column("checks", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("engines", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("engines", sa.Column("owner", sa.Text(), nullable=False, server_default=""))
    for name in ("slots", "drift"):
        op.add_column("engines", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("ix_executions_task_id_id", "executions")
    for name, columns in _BY_TIME.items():
        op.create_index(name, "executions", columns, sqlite_where=_LISTED, postgresql_where=_LISTED)
    op.create_index("ix_executions_change_seq", "executions", ["change_seq"])
    op.create_index(
        "ix_executions_approval",
        "executions",
        ["created_time"],
        sqlite_where=_ASKING,
        postgresql_where=_ASKING,
    )
    op.create_index("ix_tasks_change_seq", "tasks", ["change_seq"])
    op.create_index("ix_tasks_next_fire", "tasks", ["next_fire"])
    _create_tallies()
    _create_the_rest()
    _create_pools()
    _create_what_engines_say()


def _create_tallies() -> None:
    for table, key, of_row in (
        (
            "task_tallies",
            sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
            "task_id",
        ),
        (
            "hour_tallies",
            sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
            "created_time / 3600000000",
        ),
    ):
        op.create_table(
            table,
            key,
            sa.Column("status", sa.String(length=16), nullable=False),
            sa.Column("trigger_type", sa.String(length=16), nullable=False),
            sa.Column("count", sa.BigInteger(), nullable=False),
            sa.Column("seconds", sa.Float(), nullable=False),
            sa.PrimaryKeyConstraint(key.name, "status", "trigger_type", name=op.f(f"pk_{table}")),
            sqlite_with_rowid=False,
        )
        op.execute(
            f"INSERT INTO {table} SELECT {of_row}, status, trigger_type, count(*), "  # noqa: S608
            f"coalesce(sum(duration_seconds), 0) FROM executions WHERE {_FINAL} GROUP BY 1, 2, 3"
        )


def _create_the_rest() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "backfills",
        sa.Column("id", number, nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("from_time", sa.BigInteger(), nullable=False),
        sa.Column("to_time", sa.BigInteger(), nullable=False),
        sa.Column("parallel", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("cancelled_by", sa.String(length=100)),
        sa.Column("cancelled_time", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfills")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "actor", name=op.f("pk_idempotency_keys")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tokens",
        sa.Column("id", number, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("expires_time", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )


def _create_pools() -> None:
    op.create_table(
        "pools",
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False, server_default=""),
        sa.Column("updated_by", sa.String(length=100), nullable=False),
        sa.Column("updated_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pools")),
        sa.CheckConstraint("slots >= 0", name=op.f("ck_pools_slots")),
    )


def _create_what_engines_say() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "signals",
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=420), nullable=False),
        sa.Column("arrived", sa.BigInteger(), nullable=False),
        sa.Column("execution_id", sa.BigInteger(), nullable=False),
        sa.Column("logical_time", sa.BigInteger()),
        sa.PrimaryKeyConstraint("task_id", "source", name=op.f("pk_signals")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seen_files",
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("execution_id", sa.BigInteger()),
        sa.Column("seen_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "path", name=op.f("pk_seen_files")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "authored",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text()),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_authored")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("engine_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "letters",
        sa.Column("id", number, nullable=False),
        sa.Column("to_engine", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.BigInteger(), nullable=False),
        sa.Column("word", sa.String(length=32), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letters")),
    )
    op.create_index("ix_letters_to_engine", "letters", ["to_engine"])
    op.create_table(
        "calls",
        sa.Column("id", number, nullable=False),
        sa.Column("to_engine", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_to_engine", "calls", ["to_engine"])
