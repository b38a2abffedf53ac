"""OpenCode's HTTP API and event bus as values: requests, events, faults."""
