"""Pending permissions and questions of OpenCode: their state, replies to them, and their rendering."""
