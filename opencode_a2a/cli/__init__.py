"""The commands: serve, call and demo."""
