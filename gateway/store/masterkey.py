"""The master key: which key seals what the database keeps sealed, and is it still the same?

It is 32 random bytes as 64 hexadecimal digits. By default they are in a file beside the database,
made at the first start. The database holds the key's id: a start without that key is refused. To
replace it, set the new one as `key` and name the old one in `old_keys`: the next start seals anew
what is sealed with it (data keys, providers' credentials), and after that the old key is needed no
more.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from gateway.config import Encryption
from gateway.references import Missing, is_reference
from gateway.sealing import KEY_BYTES, Sealer, Unsealable
from gateway.store.credentials import context_of
from gateway.store.faults import BadEncryptionKey, EncryptionKeyMismatch
from gateway.store.secretfile import make_file, read
from gateway.store.sqlite import connect, transaction

FILE_NAME = "encryption-key"
_META = "encryption_key_id"
_CREDENTIALS = "SELECT id, provider, name, sealed FROM provider_credentials"


def open_sealer(
    path: Path,
    encryption: Encryption,
    base_dir: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    now_ms: int,
) -> Sealer:
    """The sealer of the database at `path`, agreed with it. Raises `StoreFault`."""
    with closing(connect(path, "full")) as db:
        return agreed_sealer(db, path.parent, encryption, base_dir, environ, now_ms=now_ms)


def agreed_sealer(
    db: sqlite3.Connection,
    home: Path,
    encryption: Encryption,
    base_dir: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    now_ms: int,
) -> Sealer:
    """The sealer that `[encryption]` describes. A missing file is made for a database without one.

    Raises `BadEncryptionKey` or `EncryptionKeyMismatch`.
    """
    known = _known(db)
    reference = encryption.key or f"file:{FILE_NAME}"
    place = base_dir if encryption.key else home
    if known is None:
        make_file(reference, place, "encryption key")
    key = _key("encryption.key", reference, place, environ, just_made=known is None)
    old = [_key("encryption.old_keys", one, base_dir, environ) for one in encryption.old_keys]
    sealer = Sealer(key, old)
    with transaction(db):
        known = _known(db)
        if known is None:
            _set_known(db, sealer, now_ms)
        elif known != sealer.key_id.hex():
            _replace(db, sealer, known, reference, now_ms)
    return sealer


def known_sealer(
    db: sqlite3.Connection,
    home: Path,
    encryption: Encryption,
    base_dir: Path,
    environ: Mapping[str, str] = os.environ,
) -> Sealer | None:
    """As `agreed_sealer`, but changes nothing; None: the database has no key yet."""
    known = _known(db)
    if known is None:
        return None
    reference = encryption.key or f"file:{FILE_NAME}"
    place = base_dir if encryption.key else home
    key = _key("encryption.key", reference, place, environ)
    old = [_key("encryption.old_keys", one, base_dir, environ) for one in encryption.old_keys]
    sealer = Sealer(key, old)
    if not sealer.knows(bytes.fromhex(known)):
        raise _mismatch(reference)
    return sealer


def forget(db: sqlite3.Connection) -> None:
    """Delete all that was sealed, and what is known of the key: for one that is lost."""
    with transaction(db):
        db.execute("DELETE FROM data_keys")
        db.execute("DELETE FROM provider_credentials")
        db.execute("DELETE FROM idempotency WHERE status IS NOT NULL")
        db.execute("DELETE FROM meta WHERE name = ?", (_META,))
        db.execute("UPDATE keys_version SET version = version + 1")


def _key(
    setting: str,
    reference: str,
    place: Path,
    environ: Mapping[str, str],
    *,
    just_made: bool = False,
) -> bytes:
    if not is_reference(reference):
        raise BadEncryptionKey(f"{setting}: write env:NAME or file:PATH, not the key itself")
    text = read(reference, place, environ, just_made=just_made)
    if isinstance(text, Missing):
        raise BadEncryptionKey(
            f"{setting}: {text.what} is missing; restore the key. If it is lost: "
            "sluice encryption-key forget"
        )
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise BadEncryptionKey(
            f"{setting}: {reference} does not hold {2 * KEY_BYTES} hexadecimal digits; "
            f"openssl rand -hex {KEY_BYTES} makes a key"
        )
    return key


def _replace(
    db: sqlite3.Connection, sealer: Sealer, known: str, reference: str, now_ms: int
) -> None:
    """Seal with the new key what an old one has sealed. What does not open is left as it is."""
    if not sealer.knows(bytes.fromhex(known)):
        raise _mismatch(reference)
    for owner, wrapped in db.execute("SELECT owner, wrapped FROM data_keys").fetchall():
        with suppress(Unsealable):
            anew = sealer.rewrap(bytes.fromhex(wrapped), owner.encode())
            db.execute("UPDATE data_keys SET wrapped = ? WHERE owner = ?", (anew.hex(), owner))
    for row_id, provider, name, sealed in db.execute(_CREDENTIALS).fetchall():
        with suppress(Unsealable):
            anew = sealer.reseal(bytes.fromhex(sealed), context_of(provider, name))
            values = (anew.hex(), row_id)
            db.execute("UPDATE provider_credentials SET sealed = ? WHERE id = ?", values)
    _set_known(db, sealer, now_ms)
    db.execute("UPDATE keys_version SET version = version + 1")


def _mismatch(reference: str) -> EncryptionKeyMismatch:
    return EncryptionKeyMismatch(
        f"the encryption key {reference} is not the one that this database was sealed with: "
        "restore that, name it in encryption.old_keys, or sluice encryption-key forget"
    )


def _known(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (_META,)).fetchone()
    return row[0] if row else None


def _set_known(db: sqlite3.Connection, sealer: Sealer, now_ms: int) -> None:
    db.execute(
        "INSERT INTO meta (name, value, created_at_ms) VALUES (?, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET value = excluded.value, created_at_ms = excluded.created_at_ms",
        (_META, sealer.key_id.hex(), now_ms),
    )
