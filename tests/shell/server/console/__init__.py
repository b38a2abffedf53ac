"""Tests of the console on the server's side."""
