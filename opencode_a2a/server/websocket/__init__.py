"""The WebSocket binding: its handshake, its tickets, and the requests of one connection."""
