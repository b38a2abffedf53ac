"""Guards of an HTTP server, as pure decisions: who may ask, from where, and how often.

Knows no route and no request body.
"""
