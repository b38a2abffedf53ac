"""Bindings as they are served: for each, the call that a request makes, and how its answers are written."""
