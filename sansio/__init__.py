"""The core: everything that decides, as pure code. Knows no clock, no socket, no event loop."""
