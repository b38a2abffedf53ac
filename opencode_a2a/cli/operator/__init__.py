"""The commands for those who operate a server."""
