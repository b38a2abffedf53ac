"""Serves an agent over A2A: HTTP, tasks, store, push notifications."""
