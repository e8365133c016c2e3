"""What Alembic runs to reach the database."""

from alembic import context
from sqlalchemy import create_engine

from zquant_flow.store.tables import metadata

connectable = create_engine(context.config.attributes["url"])
with connectable.begin() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
connectable.dispose()
