"""`serve --workers N`: a parent that supervises processes, each of which serves on the same sockets."""
