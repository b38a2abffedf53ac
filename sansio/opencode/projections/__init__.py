"""OpenCode's sessions, messages, providers and models as A2A values and summaries."""
