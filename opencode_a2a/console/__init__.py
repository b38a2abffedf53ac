"""The files of the page at `/console`: no code of Python. `opencode_a2a.server.console` serves them."""
