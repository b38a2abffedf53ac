"""The A2A protocol: model, wire forms, envelopes, streams. Knows nothing of OpenCode."""
