"""Seeded runs of the agent among neighbours that fail: run them with `python -m tests.faults`."""
