"""The application: thin I/O on anyio around the core. Knows no event loop by import."""
