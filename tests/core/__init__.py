"""Tests of the core: instant, exact and without any input or output."""
