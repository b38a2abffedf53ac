"""Agents of other people, unmodified, as servers that our client calls: each in an environment of its own."""
