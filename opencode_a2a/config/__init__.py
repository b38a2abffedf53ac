"""Settings: the table of variables, parsing and loading."""
