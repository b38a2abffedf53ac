"""Calls other agents.

Its exceptions, beside those of `sansio.a2a.errors`:

    Exception
      ClientError
        UsageError                  the user's command or settings cannot be used; also a `ValueError`
        CallError                   the agent was not reached, or its answer broke off
"""
