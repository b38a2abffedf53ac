"""Metrics: the calls that the server makes, which do nothing unless metrics are on, and their Prometheus form."""
