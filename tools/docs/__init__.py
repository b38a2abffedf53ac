"""Writes the generated parts of the documents."""
