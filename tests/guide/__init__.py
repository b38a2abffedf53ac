"""Runs the examples of the guide, so that each shown answer is what the server answers."""
