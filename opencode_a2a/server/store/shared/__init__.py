"""The SQL by which servers share a PostgreSQL database."""
