"""What Alembic runs to reach the database: all migrations in one transaction, so that who is killed in it has done nothing."""

from alembic import context
from sqlalchemy import create_engine, event

from zquant_flow.store.tables import metadata

connectable = create_engine(context.config.attributes["url"])
if connectable.dialect.name == "sqlite":
    # The driver would begin its transactions by itself, and only before what changes rows: each CREATE would stand alone.
    event.listen(connectable, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(connectable, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
with connectable.begin() as connection:
    if connectable.dialect.name == "postgresql":
        # Of several that start at once one migrates; the others then find it done.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(8206170)")
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
connectable.dispose()
