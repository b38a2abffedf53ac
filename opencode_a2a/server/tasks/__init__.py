"""Tasks that are held in memory: the active task, locks, repeated messages."""
