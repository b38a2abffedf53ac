"""Checks how much of the code the tests reach. Not shipped."""
