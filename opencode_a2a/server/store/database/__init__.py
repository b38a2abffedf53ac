"""Database files and servers: URLs, locks, migrations."""
