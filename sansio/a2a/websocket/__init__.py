"""The WebSocket binding: its messages, the requests of one connection on either side, what waits to be sent."""
