"""The operations: what clients may ask, what a message starts, and the upkeep of tasks."""
