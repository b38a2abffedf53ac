"""An operator's day: a server is deployed, its credentials rotate, it is upgraded, restored and cleaned up.

All of it under a steady load of streams, of which none may be lost.
"""
