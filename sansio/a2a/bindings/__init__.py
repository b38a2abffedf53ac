"""JSON-RPC, HTTP+JSON and Server-Sent Events: envelopes, routes, headers, cursors and page tokens."""
