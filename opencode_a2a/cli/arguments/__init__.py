"""The arguments of each command, apart from the code that the command runs, which takes longer to import."""
