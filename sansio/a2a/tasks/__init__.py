"""A task on the wire and in a store: its event log, its presentation to one client, its push notifications."""
