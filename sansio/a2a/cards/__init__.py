"""Agent cards: the server's own, another agent's, and their signatures."""
