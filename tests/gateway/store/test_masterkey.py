"""Is the master key made once, kept, and replaced without a loss?"""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.config import Encryption
from gateway.sealing import Sealer, new_key
from gateway.store.credentials import context_of
from gateway.store.faults import BadEncryptionKey, EncryptionKeyMismatch
from gateway.store.masterkey import agreed_sealer, forget
from gateway.store.sqlite import connect
from tests.gateway.store.entries import NOW_MS

FIRST, SECOND = "11" * 32, "2a" * 32
ENVIRON = {"FIRST": FIRST, "SECOND": SECOND, "SHORT": "abcdef", "WORDS": "correct horse " * 5}


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    db = connect(path)
    yield db
    db.close()


def agreed(
    db: sqlite3.Connection,
    home: Path,
    key: str | None = None,
    *old: str,
    environ: Mapping[str, str] = ENVIRON,
) -> Sealer:
    encryption = Encryption(key=key, old_keys=old)
    return agreed_sealer(db, home, encryption, home / "config", environ, now_ms=NOW_MS)


def test_by_default_a_file_beside_the_database_is_made_once(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    sealed = agreed(db, tmp_path).seal(b"text", b"")
    file = tmp_path / "encryption-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(bytes.fromhex(file.read_text())) == 32
    assert agreed(db, tmp_path).open(sealed, b"") == b"text"


def test_a_named_file_lies_beside_the_configuration(db: sqlite3.Connection, tmp_path: Path) -> None:
    agreed(db, tmp_path, "file:secret/master")
    assert (tmp_path / "config/secret/master").exists()
    assert not (tmp_path / "encryption-key").exists()


def test_it_may_come_from_the_environment(db: sqlite3.Connection, tmp_path: Path) -> None:
    sealed = agreed(db, tmp_path, "env:FIRST").seal(b"text", b"")
    assert Sealer(bytes.fromhex(FIRST)).open(sealed, b"") == b"text"


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("env:SHORT", "env:SHORT does not hold 64 hexadecimal digits"),
        ("env:WORDS", "env:WORDS does not hold 64 hexadecimal digits"),
        ("env:NONE", "environment variable NONE is missing"),
        (FIRST, "write env:NAME or file:PATH"),
    ],
)
def test_what_is_no_key_is_refused(
    db: sqlite3.Connection, tmp_path: Path, reference: str, complaint: str
) -> None:
    with pytest.raises(BadEncryptionKey, match=complaint) as caught:
        agreed(db, tmp_path, reference)
    assert not any(value in str(caught.value) for value in ENVIRON.values())


def test_another_key_stops_the_start(db: sqlite3.Connection, tmp_path: Path) -> None:
    agreed(db, tmp_path, "env:FIRST")
    with pytest.raises(EncryptionKeyMismatch, match="env:SECOND is not the one"):
        agreed(db, tmp_path, "env:SECOND")


def test_a_lost_file_is_not_replaced_behind_what_it_sealed(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    agreed(db, tmp_path)
    (tmp_path / "encryption-key").unlink()
    with pytest.raises(BadEncryptionKey, match="encryption-key is missing; restore the key"):
        agreed(db, tmp_path)
    assert not (tmp_path / "encryption-key").exists()


def test_a_lost_key_can_be_forgotten_with_all_that_it_sealed(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    wrapped = agreed(db, tmp_path).wrap(new_key(), b"team:red")
    db.execute("INSERT INTO data_keys VALUES ('team:red', ?, 1)", (wrapped.hex(),))
    (tmp_path / "encryption-key").unlink()
    forget(db)
    assert db.execute("SELECT * FROM data_keys").fetchall() == []
    agreed(db, tmp_path)
    assert (tmp_path / "encryption-key").exists()


def test_a_new_key_takes_over_the_data_keys_of_the_old_one(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    data_key = new_key()
    first = agreed(db, tmp_path, "env:FIRST")
    wrapped = first.wrap(data_key, b"team:red")
    credential = first.seal(b"{}", context_of("openai", "lab")).hex()
    db.execute(
        "INSERT INTO provider_credentials VALUES ('c1', 'openai', 'lab', ?, '', 0, 1, 1)",
        (credential,),
    )
    db.execute("INSERT INTO data_keys VALUES ('team:red', ?, 1)", (wrapped.hex(),))
    db.execute("INSERT INTO data_keys VALUES ('team:broken', '00', 1)")
    (before,) = db.execute("SELECT version FROM keys_version").fetchone()
    agreed(db, tmp_path, "env:SECOND", "env:FIRST")
    (after,) = db.execute("SELECT version FROM keys_version").fetchone()
    assert after == before + 1
    alone = agreed(db, tmp_path, "env:SECOND")  # the old key may go
    (now,) = db.execute("SELECT wrapped FROM data_keys WHERE owner = 'team:red'").fetchone()
    sealed = Sealer(data_key).seal(b"text", b"")
    assert alone.unwrap(bytes.fromhex(now), b"team:red").open(sealed, b"") == b"text"
    (credential,) = db.execute("SELECT sealed FROM provider_credentials").fetchone()
    assert alone.open(bytes.fromhex(credential), context_of("openai", "lab")) == b"{}"


def test_processes_that_start_together_agree(path: Path, tmp_path: Path) -> None:
    ids: list[bytes] = []

    def start() -> None:
        db = connect(path)
        ids.append(agreed(db, tmp_path).key_id)
        db.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1
