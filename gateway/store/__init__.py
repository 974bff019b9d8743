"""Where keys and the ledger live. `gateway.store.database.Store` is the way in.

SQLite holds them now. All SQL keeps to what SQLite and PostgreSQL share, times are unix
milliseconds, money integer nano-dollars, and JSON is text, so that PostgreSQL can take its place
behind the same classes.
"""
