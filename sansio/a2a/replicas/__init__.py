"""Servers of one agent that share a database: their leases, their notifications, and requests between them."""
