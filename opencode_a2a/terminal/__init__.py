"""Shows a person what an agent answers, and asks the person what the agent asks."""
