"""Tests of the core, the shell, and the house rules."""
