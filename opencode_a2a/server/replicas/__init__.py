"""Servers that share one database."""
