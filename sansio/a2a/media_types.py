"""The media types that several modules name."""

from __future__ import annotations

JSON = "application/json"
A2A_JSON = "application/a2a+json"
EVENT_STREAM = "text/event-stream"
PLAIN_TEXT = "text/plain"
