"""The rules of a tool by which a model calls other agents: its arguments, its outcome, its errors, and the hops.

Pure. Knows neither the protocol that offers the tool, nor the model, nor a connection.
"""
