"""The extension methods as a table, and the contracts published from it. Knows no transport."""
