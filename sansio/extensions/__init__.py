"""The extension methods as a table, and the contracts published from it. Knows no transport.

Its exceptions continue the tree of `sansio.a2a.errors`:

    ProtocolError
      ExtensionError                a method cannot do what was requested (`methods.method_errors`)
"""
