"""The A2A protocol: model, codecs, bindings, cards, tasks, server and client side. Knows nothing of OpenCode."""
