"""OpenCode as the agent that the server serves.

Its exceptions, beside private ones that do not leave their module:

    Exception
      UpstreamError                 OpenCode did not carry out a call
      WithheldError                 a call was not sent, as it might not be any more
    SchemaError
      ImportRefusedError            ownership in the tables of an earlier release is not clear
"""
