"""Tests of how callers prove who they are, over sockets."""
