"""How a database's schema becomes the current one, step by step; alembic runs it where an open finds it behind."""
