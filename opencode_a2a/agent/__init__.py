"""OpenCode as the agent that the server serves."""
