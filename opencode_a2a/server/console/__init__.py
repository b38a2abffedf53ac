"""The console: a page of this server, its files, and the sessions of those who have logged in to it."""
