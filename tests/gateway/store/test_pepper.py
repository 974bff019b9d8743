from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.faults import BadPepper, PepperMismatch
from gateway.store.pepper import agreed_pepper
from gateway.store.sqlite import connect
from tests.gateway.store.entries import NOW_MS

VALUE = "0123456789abcdef"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    db = connect(path)
    yield db
    db.close()


def test_a_missing_file_is_made_for_a_fresh_database(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    pepper = agreed_pepper(db, "file:secret/pepper", tmp_path, now_ms=NOW_MS)
    file = tmp_path / "secret" / "pepper"
    assert len(bytes.fromhex(pepper.decode())) == 32
    assert file.read_text().strip().encode() == pepper
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert agreed_pepper(db, "file:secret/pepper", tmp_path, now_ms=NOW_MS) == pepper


def test_a_pepper_may_come_from_the_environment(db: sqlite3.Connection, tmp_path: Path) -> None:
    environ = {"PEPPER": VALUE}
    pepper = agreed_pepper(db, "env:PEPPER", tmp_path, environ=environ, now_ms=NOW_MS)
    assert pepper == VALUE.encode()


def test_another_pepper_stops_the_start(db: sqlite3.Connection, tmp_path: Path) -> None:
    agreed_pepper(db, "env:P", tmp_path, environ={"P": VALUE}, now_ms=NOW_MS)
    with pytest.raises(PepperMismatch, match="env:P is not the one") as caught:
        agreed_pepper(db, "env:P", tmp_path, environ={"P": VALUE[::-1]}, now_ms=NOW_MS)
    assert VALUE[::-1] not in str(caught.value)


def test_a_lost_file_is_not_replaced_behind_a_database_that_knows_its_pepper(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    agreed_pepper(db, "file:pepper", tmp_path, now_ms=NOW_MS)
    (tmp_path / "pepper").unlink()
    with pytest.raises(BadPepper, match=r"readable file pepper is missing"):
        agreed_pepper(db, "file:pepper", tmp_path, now_ms=NOW_MS)
    assert not (tmp_path / "pepper").exists()


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("env:SHORT", "env:SHORT has fewer than 16 characters"),
        ("env:NONE", "environment variable NONE is missing"),
        (VALUE, "write env:NAME or file:PATH"),
    ],
)
def test_what_is_no_pepper_is_refused(
    db: sqlite3.Connection, tmp_path: Path, reference: str, complaint: str
) -> None:
    with pytest.raises(BadPepper, match=complaint) as caught:
        agreed_pepper(db, reference, tmp_path, environ={"SHORT": "tiny"}, now_ms=NOW_MS)
    assert "tiny" not in str(caught.value)
    assert VALUE not in str(caught.value)


def test_processes_that_start_together_agree(path: Path, tmp_path: Path) -> None:
    peppers: list[bytes] = []

    def start() -> None:
        db = connect(path)
        peppers.append(agreed_pepper(db, "file:pepper", tmp_path, now_ms=NOW_MS))
        db.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(peppers) == 6
    assert len(set(peppers)) == 1
