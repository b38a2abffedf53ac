"""The tool by which the model of an agent calls other agents: an endpoint of the Model Context Protocol.

For any agent: the agent registers the endpoint wherever its model runs, and says which of its turns a call is from.

    Exception
      PeerRefusedError      a call names an agent that this server does not call (`peer_calls`)
"""
