"""Trailers, health checking and reflection: gRPC beside its binding."""
