"""The HTTP edge: what a client sends and sees."""
