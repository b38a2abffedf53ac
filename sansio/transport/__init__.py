"""Bounds of connections: how many there are, how long each may take, which request heads are unambiguous.

Serves any HTTP server. Knows neither A2A nor an application; a runtime may import it.
"""
