"""The pepper: the secret under which keys are digested. Where is it, and is it still the same?

It is not in the database, so that a copy of the database alone opens nothing. The database holds a
check value of it: with another pepper no stored key would ever match.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gateway.keys import digest
from gateway.references import Missing, is_reference
from gateway.store.faults import BadPepper, PepperMismatch
from gateway.store.secretfile import make_file, read
from gateway.store.sqlite import transaction

_MIN_LENGTH = 16
_CHECK = "sluice pepper check"


def agreed_pepper(
    db: sqlite3.Connection,
    reference: str,
    base_dir: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    now_ms: int,
) -> bytes:
    """The pepper that `reference` names, agreed with the database.

    A missing file is made only for a database that knows no pepper yet.
    Raises `BadPepper` or `PepperMismatch`.
    """
    known = _check_value(db)
    if known is None:
        make_file(reference, base_dir, "pepper")
    pepper = _read(reference, base_dir, environ, fresh_database=known is None)
    value = digest(pepper, _CHECK).hex()
    with transaction(db):
        db.execute(
            "INSERT INTO meta (name, value, created_at_ms) VALUES ('pepper_check', ?, ?) "
            "ON CONFLICT (name) DO NOTHING",
            (value, now_ms),
        )
    if not hmac.compare_digest(_check_value(db) or "", value):
        raise _mismatch(reference)
    return pepper


def require_known(
    db: sqlite3.Connection, reference: str, base_dir: Path, environ: Mapping[str, str] = os.environ
) -> bool:
    """Is it the pepper of this database? Changes nothing; False: the database knows none yet.

    Raises `BadPepper` or `PepperMismatch`.
    """
    known = _check_value(db)
    if known is None:
        return False
    pepper = _read(reference, base_dir, environ, fresh_database=False)
    if not hmac.compare_digest(known, digest(pepper, _CHECK).hex()):
        raise _mismatch(reference)
    return True


def _mismatch(reference: str) -> PepperMismatch:
    return PepperMismatch(
        f"the pepper {reference} is not the one that this database's keys were made with: "
        "restore the old pepper"
    )


def _check_value(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE name = 'pepper_check'").fetchone()
    return row[0] if row else None


def _read(
    reference: str, base_dir: Path, environ: Mapping[str, str], *, fresh_database: bool
) -> bytes:
    if not is_reference(reference):
        raise BadPepper("keys.pepper: write env:NAME or file:PATH, not the pepper itself")
    value = read(reference, base_dir, environ, just_made=fresh_database)
    if isinstance(value, Missing):
        raise BadPepper(f"keys.pepper: {value.what} is missing; this database needs its pepper")
    if len(value) < _MIN_LENGTH:
        raise BadPepper(f"keys.pepper: {reference} has fewer than {_MIN_LENGTH} characters")
    return value.encode()
