"""How fast the server is, measured and never asserted: run it with `python -m tests.benchmarks`.

No test depends on it, and it collects none.
"""
