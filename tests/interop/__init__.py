"""The official clients, unmodified, against this server: each in an environment of its own, over real sockets."""
