"""The cache's mechanisms: keys, entries, and where entries are kept."""
