"""OpenCode's sessions: which one a turn uses, who may use it, and where it runs."""
