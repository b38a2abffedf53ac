"""Calls other agents: connection, conversation, terminal output."""
