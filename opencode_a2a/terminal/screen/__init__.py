"""A terminal as a screen: Markdown that streams, a line that shows what goes on, and nothing left behind of it."""
