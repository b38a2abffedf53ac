"""The script that alembic executes to migrate, on the connection and transaction that it is given."""

from __future__ import annotations

from alembic import context

from opencode_a2a.server.store.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
context.run_migrations()
