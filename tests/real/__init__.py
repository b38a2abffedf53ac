"""Turns over A2A with the real OpenCode behind the server and a scripted model behind OpenCode.

Nothing here knows the insides of the server: it is started as a user starts it and spoken to over the wire.
"""
