"""Judges the facts about a deployment: what works, what does not, and what mends it. Gathers no fact itself."""
