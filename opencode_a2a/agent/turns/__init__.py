"""Runs turns in OpenCode, and replies to their permissions and questions."""
