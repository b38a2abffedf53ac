"""The HTTP surface: requests, answers, documents, and the keys that sign cards."""
