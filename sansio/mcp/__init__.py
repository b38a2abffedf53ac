"""The Model Context Protocol, as far as a server of tools needs it: streamable HTTP without a stream of pushes.

Pure, and ignorant of what the tools do: HTTP requests go in as values, answers and tool calls come out. Covers the
protocol versions of the table in `versions`; `server` describes the machine.
"""
