"""Who calls a server: the methods of authentication that are on, and streams that end with what let them in."""
