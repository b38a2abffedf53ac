"""Tests of the application around the core, on both runtimes and over real sockets and files."""
