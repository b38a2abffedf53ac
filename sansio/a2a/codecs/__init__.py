"""JSON encodings of the protocol: one module for each version and binding, and what they share."""
