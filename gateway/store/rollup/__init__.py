"""Roll-ups: sums over the ledger by quarter hours and days, kept beside it for quick reports."""
