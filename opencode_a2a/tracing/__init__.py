"""Traces: the spans that the server makes, and the span that the work of a task or a request belongs to now."""
