"""One store for several servers: who works on which task, and how each learns what the others change."""
