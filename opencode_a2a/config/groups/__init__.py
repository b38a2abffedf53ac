"""Groups of settings: a class of rows each, which `Settings` inherits."""
