"""Push notifications: delivery, and the outbound HTTP client for it."""
