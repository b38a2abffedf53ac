"""Requests between servers of one agent that share a database."""
