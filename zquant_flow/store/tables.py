"""Which tables are there, and what can never be true in them?

Instants are microseconds since 1970, UTC (`core.instants`); JSON is text. Rules that must never break are constraints.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""`execution`: the last id given; `task`: likewise; `change`: the last change_seq, given inside the commit, so that its
row lock makes the order of numbers the order of commits."""

tasks = Table(
    "tasks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("name", String(400), nullable=False, unique=True),
    Column("task_type", String(16), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("version", Integer, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("source", Text),
    Column("document", Integer, nullable=False, server_default="0"),
    Column("line", Integer, nullable=False, server_default="0"),
    Column("enabled", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("archived_at", BigInteger),
    Column("anchor", BigInteger, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("idle_since", BigInteger),
    Column("next_fire", BigInteger),
    Column("active_count", Integer, nullable=False, server_default="0"),
    Column("latest_execution_id", BigInteger),
    Column("latest_status", String(16)),
    Column("latest_time", BigInteger),
    Column("created_by", String(100), nullable=False),
    Column("created_time", BigInteger, nullable=False),
    Column("updated_by", String(100), nullable=False),
    Column("updated_time", BigInteger, nullable=False),
    Column("change_seq", BigInteger, nullable=False, server_default="0"),
    Column("adhoc", Boolean, nullable=False, server_default=text("false")),
    Column("hook_generation", Integer, nullable=False, server_default="0"),
    Column("files_since", BigInteger),
)
"""`anchor`: where intervals count from; `cursor`: instants up to here are accounted for in the ledger; `idle_since`: since
when the task is disabled, paused or archived (its fires until now are one span); `adhoc`: it stands for a definition that
was run without being registered, and is archived from its birth; `hook_generation`: the secret of its webhook is made from it; `files_since`: files
that were there before do not start it."""

Index("ix_tasks_change_seq", tasks.c.change_seq)
Index("ix_tasks_next_fire", tasks.c.next_fire)

definitions = Table(
    "definitions",
    metadata,
    Column("task_id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content_hash", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_time", BigInteger, nullable=False),
    # Going back to old content reuses its version (SEMANTICS §2.4): two rows would be two versions of one thing.
    UniqueConstraint("task_id", "content_hash"),
    sqlite_with_rowid=False,
)

bundles = Table(
    "bundles",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("files", Text, nullable=False),
    Column("created_time", BigInteger, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("dependencies", Text, nullable=False, server_default="{}"),
)
"""The files as they were last read: unchanged ones are not read again after a restart."""

authored = Table(
    "authored",
    metadata,
    Column("path", Text, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("text", Text),
)
"""Files of the tasks folder that were made or changed by request, for the folders of the other machines; without `text` it is
gone, and a file with that digest has to go there too. Kept only where schedulers share the database."""

load_errors = Table(
    "load_errors",
    metadata,
    Column("path", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("line", Integer, nullable=False),
    Column("column", Integer, nullable=False),
    Column("field", Text, nullable=False),
    Column("code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("words", Text),
)

fires = Table(
    "fires",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("task_id", BigInteger, nullable=False),
    Column("logical_time", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("execution_id", BigInteger),
    Column("recorded_time", BigInteger, nullable=False),
    CheckConstraint("until >= logical_time", name="span"),
    # A fired instant is one instant with its execution; whoever fires second must fail here, not run twice.
    CheckConstraint(
        "outcome <> 'fired' OR (execution_id IS NOT NULL AND until = logical_time)", name="fired"
    ),
)
"""The ledger: an instant (`until` = `logical_time`) that fired, or an instant or span skipped for the reason `outcome`."""

Index(
    "uq_fires_fired",
    fires.c.task_id,
    fires.c.logical_time,
    unique=True,
    sqlite_where=text("outcome = 'fired'"),
)
Index("ix_fires_task_id_until", fires.c.task_id, fires.c.until)

executions = Table(
    "executions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("root_id", BigInteger, nullable=False),
    Column("parent_execution_id", BigInteger),
    Column("task_id", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("node", Text),
    Column("inline", Boolean, nullable=False, server_default=text("false")),
    Column("status", String(16), nullable=False),
    Column("trigger_type", String(16), nullable=False),
    Column("logical_time", BigInteger),
    Column("params", Text),
    Column("result", Text),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("created_by", String(100), nullable=False, server_default="scheduler"),
    Column("created_time", BigInteger, nullable=False),
    Column("start_time", BigInteger),
    Column("attempt_start", BigInteger),
    Column("end_time", BigInteger),
    Column("duration_seconds", Float),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("progress_percent", Float),
    Column("current_item", Text),
    Column("total_items", BigInteger),
    Column("processed_items", BigInteger),
    Column("estimated_end_time", BigInteger),
    Column("message", Text),
    Column("pause_requested", Boolean, nullable=False, server_default=text("false")),
    Column("terminate_requested", Boolean, nullable=False, server_default=text("false")),
    Column("waiting_for", String(64)),
    Column("waiting_until", BigInteger),
    Column("skip_reason", String(64)),
    Column("resume_from_execution_id", BigInteger),
    Column("reused_from", BigInteger),
    Column("owner", Integer),
    Column("updated_time", BigInteger, nullable=False),
    Column("change_seq", BigInteger, nullable=False),
    Column("backfill_id", BigInteger),
    Column("event", Text),
    Column("deadline", BigInteger),
    Column("deadline_missed", Boolean, nullable=False, server_default=text("false")),
    Column("marked_status", String(16)),
    Column("marked_by", String(100)),
    Column("marked_time", BigInteger),
    Column("result_size", BigInteger),
    Column("handle", Text),
    Column("checks", Integer, nullable=False, server_default=text("0")),
    # A running row without an owner would be driven by nobody and block its task for ever (the origin's fault 12).
    CheckConstraint("status <> 'running' OR owner IS NOT NULL", name="running_is_owned"),
    CheckConstraint(
        "status IN ('pending','running','paused','success','failed','completed','terminated','skipped')",
        name="status",
    ),
)
"""`root_id` is the top execution's id, its own for a root; an inline node's `task_id` is its workflow's. `inline` rows stand in
no task's history: nodes that are defined in their workflow, and successes that a resume took over. `result_size`: the bytes of a
result that lies in a file (`result_files`); it has no `result` then. `handle`, `checks`: of an attempt that waits for something elsewhere."""

_LISTED = text("NOT inline")
LISTED: ColumnElement[bool] = literal_column("NOT executions.inline")
"""Stands in a task's history. Said as the partial indexes say it: SQLite would not use them for `inline = 0`."""

IS_ACTIVE: ColumnElement[bool] = literal_column("executions.status IN ('pending','running','paused')")
"""Has not ended; said so for the same reason."""

Index(
    "ix_executions_root_id",
    executions.c.root_id,
    sqlite_where=text("parent_execution_id IS NOT NULL"),
)
Index(
    "ix_executions_active",
    executions.c.task_id,
    sqlite_where=text("NOT inline AND status IN ('pending','running','paused')"),
)
Index("ix_executions_approval", executions.c.created_time, sqlite_where=text("waiting_for = 'approval'"))
# Lists are newest first, by one filter or two: a page is a walk along an index, and what else is asked stands in it.
Index(
    "ix_executions_created_time",
    executions.c.created_time,
    executions.c.id,
    executions.c.task_id,
    sqlite_where=_LISTED,
)
Index(
    "ix_executions_task_id_created_time",
    executions.c.task_id,
    executions.c.created_time,
    sqlite_where=_LISTED,
)
Index(
    "ix_executions_status_created_time",
    executions.c.status,
    executions.c.created_time,
    executions.c.id,
    executions.c.task_id,
    sqlite_where=_LISTED,
)
Index(
    "ix_executions_task_id_status_created_time",
    executions.c.task_id,
    executions.c.status,
    executions.c.created_time,
    sqlite_where=_LISTED,
)
Index(
    "ix_executions_trigger_type_created_time",
    executions.c.trigger_type,
    executions.c.created_time,
    executions.c.id,
    executions.c.status,
    sqlite_where=_LISTED,
)
Index("ix_executions_change_seq", executions.c.change_seq)

task_tallies = Table(
    "task_tallies",
    metadata,
    Column("task_id", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String(16), primary_key=True),
    Column("trigger_type", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    sqlite_with_rowid=False,
)
"""How many listed executions of a task have ended how, and how long they took in all; grown in the transaction that ends
them. What is active is few, and counted."""

hour_tallies = Table(
    "hour_tallies",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), primary_key=True),
    Column("trigger_type", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    sqlite_with_rowid=False,
)
"""The same for all tasks, by the hour since 1970 in which executions were created."""

backfills = Table(
    "backfills",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("task_id", BigInteger, nullable=False),
    Column("from_time", BigInteger, nullable=False),
    Column("to_time", BigInteger, nullable=False),
    Column("parallel", Integer, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("created_time", BigInteger, nullable=False),
    Column("cancelled_by", String(100)),
    Column("cancelled_time", BigInteger),
)
"""A span whose logical times were asked for; their executions name it, and at most `parallel` of them are active."""

signals = Table(
    "signals",
    metadata,
    Column("task_id", BigInteger, primary_key=True, autoincrement=False),
    Column("source", String(420), primary_key=True),
    Column("arrived", BigInteger, nullable=False),
    Column("execution_id", BigInteger, nullable=False),
    Column("logical_time", BigInteger),
    sqlite_with_rowid=False,
)
"""What a task that waits for several others has got so far: `task:NAME` has ended, `data:NAME` was produced."""

seen_files = Table(
    "seen_files",
    metadata,
    Column("task_id", BigInteger, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("execution_id", BigInteger),
    Column("seen_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The files that a task has run for, or that were there before it waited for any: the same once more is no new one."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("actor", String(100), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Requests that named a key, and what came of them: who asks again gets the same answer and causes nothing."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_by", String(100), nullable=False),
    Column("created_time", BigInteger, nullable=False),
    Column("expires_time", BigInteger),
)
"""Bearer tokens beside the admin's own; only their SHA-256 is kept."""

pools = Table(
    "pools",
    metadata,
    Column("name", String(400), primary_key=True),
    Column("slots", Integer, CheckConstraint("slots >= 0", name="slots"), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("updated_by", String(100), nullable=False),
    Column("updated_time", BigInteger, nullable=False),
)
"""Limits that attempts share by name, made over REST; those of `zquant-flow.toml` are in no row."""

attempts = Table(
    "attempts",
    metadata,
    Column("execution_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("outcome", String(16), nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger, nullable=False),
    Column("duration_seconds", Float),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("error_code", String(64)),
    Column("error_message", Text),
    sqlite_with_rowid=False,
)
"""One row for each attempt that has ended; the one under way is the execution's own `retry_count` + 1, since `attempt_start`."""

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(64), nullable=False),
    Column("task_id", BigInteger),
    Column("execution_id", BigInteger),
    Column("detail", Text, nullable=False, server_default=""),
)

engines = Table(
    "engines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("heartbeat", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_time", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False, server_default="0"),
    Column("owner", Text, nullable=False, server_default=""),
    Column("slots", Integer, nullable=False, server_default="0"),
    Column("drift", Integer, nullable=False, server_default="0"),
)
"""`epoch` grows with each term: a writer whose epoch is not the row's has been fenced off. `turn` counts the batches of a term,
so that one whose commit got no answer can be looked up. `slots`: the places it offers to others' executions; `drift`: how many
files of its tasks folder differ from what is registered (-1: the folder can't be read)."""

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("engine_id", Integer, nullable=False),
)
"""`scheduler`: the engine that leads. It holds as long as that engine's heartbeat is fresh; who takes it ends that one's term."""

letters = Table(
    "letters",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("to_engine", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", BigInteger, nullable=False),
    Column("word", String(32), nullable=False, server_default=""),
)
"""What engines tell each other, written by the transaction that decides it and deleted by the one that obeys: exactly once.
`to_engine` 0 is whoever leads; `subject` is an execution, or a task; `word` is a status, or a reason."""

Index("ix_letters_to_engine", letters.c.to_engine)

calls = Table(
    "calls",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("to_engine", Integer, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("request", Text, nullable=False),
    Column("answer", Text),
    Column("created_time", BigInteger, nullable=False),
)
"""Requests that came to a process which can't decide them, with what the one that can has answered."""

Index("ix_calls_to_engine", calls.c.to_engine)


def partial_indexes_for(dialect: str) -> None:
    """Say the conditions of the partial indexes in another dialect's words too, before it creates them.

    They are declared for SQLite alone, because naming PostgreSQL imports its dialect: 0.1 s that few installations need.
    """
    for table in metadata.tables.values():
        for index in table.indexes:
            where = index.dialect_options["sqlite"]["where"]
            if where is not None:
                index.dialect_options[dialect]["where"] = where
