"""What OpenCode says and wants, in terms of the A2A model. Knows no I/O and no A2A codec."""
