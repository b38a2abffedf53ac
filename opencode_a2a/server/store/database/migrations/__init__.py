"""Migrations of a database's schema, step by step; alembic runs them where an open finds it behind."""
