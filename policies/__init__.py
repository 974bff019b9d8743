"""The request path, as one list."""
