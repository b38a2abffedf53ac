"""OpenCode over HTTP: the client, the event bus, and whether OpenCode is ready."""
