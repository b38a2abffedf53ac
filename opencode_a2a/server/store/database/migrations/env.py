"""What alembic executes to migrate: it uses the connection and transaction it is handed, and opens nothing."""

from __future__ import annotations

from alembic import context

from opencode_a2a.server.store.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
context.run_migrations()
