"""Throws garbage at every parser and state machine of the core; each target states its invariant."""
