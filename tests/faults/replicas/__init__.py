"""Seeded runs of several servers on one PostgreSQL, which fail one after the other."""
