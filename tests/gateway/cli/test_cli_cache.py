"""Is the cache cleared as asked, and are its statistics shown?"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from gateway.cache.disk import DiskStore
from gateway.cache.entry import Entry
from gateway.cache.epochs import labels
from gateway.cache.facts import Cached, Saved
from gateway.configfile import load
from gateway.keys import VirtualKey
from gateway.store.database import Store, prepare
from tests import builders
from tests.gateway.cli.conftest import Shell

DAY_S = 86_400.0
NOON_S = 1_728_043_200.0


def home(shell: Shell) -> Path:
    return shell.path.parent / "state"


async def kept(shell: Shell, *places: tuple[str, str, str]) -> None:
    disk = await DiskStore.open(home(shell) / "cache.db", 10**6, time.time)
    for place in places:
        entry = Entry(
            kind="completion",
            payload=b"",
            usage=None,
            cost_nano_usd=None,
            stored_at=time.time(),
            expires_at=time.time() + 60,
        )
        disk.put(labels(*place) + b"digest", entry)
    await disk.close()


async def counted(shell: Shell) -> None:
    config = load(shell.path, {})
    prepared = prepare(config.database, config.keys, shell.path.parent)
    store = await Store.open(prepared, config.database, config.keys)
    alone = VirtualKey(id="k2", name="alone")
    for key, at_s, fact in (
        (builders.KEY, NOON_S, Cached("miss")),
        (builders.KEY, NOON_S, Cached("hit")),
        (builders.KEY, NOON_S, Saved(1000, 2_500_000)),
        (alone, NOON_S + DAY_S, Cached("miss")),
    ):
        store.cache_stats.tally.count(builders.call(key=key).with_(received_at=at_s), fact)
    await store.close()


def test_statistics_are_shown_in_all_forms(shell: Shell) -> None:
    asyncio.run(counted(shell))
    (row,) = shell.json("cache", "stats")
    assert (row["hits"], row["misses"], row["saved_usd"]) == (1, 2, "0.002500000")
    assert row["hit_rate"] == pytest.approx(1 / 3)
    table = shell.run("cache", "stats", "--by", "team", "--by", "day").stdout
    assert "50.0%" in table
    assert "$0.002500" in table
    csv = shell.run("cache", "stats", "--by", "key", "--since", "2024-10-05", "--format", "csv")
    head, *lines = csv.stdout.splitlines()
    assert head.startswith("key,hits,misses,")
    assert lines == ["k2,0,1,0,0,0,0,0,0,0.000000000,0.0"]


def test_a_clear_deletes_what_lies_on_disk_in_its_scope(shell: Shell) -> None:
    shell.run("keys", "create", "one", "--team", "red")
    key = shell.json("keys", "create", "two")["id"]
    places = [("team:red", "", "smart"), ("team:red", "t", "fast"), (f"key:{key}", "", "smart")]
    asyncio.run(kept(shell, *places))
    cleared = shell.json("cache", "clear", "--team", "red", "--namespace", "t")
    assert cleared == {
        "scope": {"team": "red", "key": None, "namespace": "t", "model": None},
        "deleted": {"disk": 1},
    }
    assert shell.json("cache", "clear", "--key", "two")["deleted"] == {"disk": 1}
    said = shell.run("cache", "clear", "--alias", "smart").stdout
    assert "model smart" in said
    assert "Deleted 1 entries: disk." in said
    with closing(sqlite3.connect(home(shell) / "sluice.db")) as db:
        rows = db.execute("SELECT owner, namespace, asked_model, epoch FROM cache_epochs")
        assert set(rows) == {
            ("team:red", "t", "", 1),
            (f"key:{key}", "", "", 1),
            ("", "", "smart", 1),
        }


def test_without_a_file_there_is_nothing_to_delete(shell: Shell) -> None:
    assert shell.json("cache", "clear")["deleted"] == {}
    assert not (home(shell) / "cache.db").exists()


def test_a_redis_that_is_away_is_told(shell: Shell) -> None:
    away = '[cache]\nstore = "redis"\n[redis]\nurl = "redis://127.0.0.1:1/0"\n'
    shell.path.write_text(shell.path.read_text() + away)
    done = shell.run("cache", "clear")
    assert done.stdout == "Cleared the cache in all processes.\n"
    assert "redis could not be reached" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--team", "red", "--key", "k"), "exclude each other"),
        (("--team", "blue"), "there is no team 'blue'"),
        (("--key", "one"), "shares its entries with its team; name team 'red' instead"),
    ],
)
def test_nobody_is_cleared_by_mistake(
    shell: Shell, arguments: tuple[str, ...], complaint: str
) -> None:
    shell.run("keys", "create", "one", "--team", "red")
    assert complaint in shell.failure("cache", "clear", *arguments, code=2)
    assert "no key has the id or the name" in shell.failure("cache", "clear", "--key", "nobody")


def test_a_team_is_deleted_with_its_keys_only_if_told(shell: Shell) -> None:
    key = shell.json("keys", "create", "one", "--team", "red")["id"]
    asyncio.run(kept(shell, ("team:red", "", "smart"), ("team:blue", "", "smart")))
    assert "--revoke-keys" in shell.failure("teams", "delete", "red", code=3)
    assert shell.json("teams", "delete", "red", "--revoke-keys") == {
        "name": "red",
        "revoked": [key],
    }
    assert shell.json("keys", "show", key)["state"] == "revoked"
    assert shell.json("teams", "list") == []
    assert shell.json("cache", "clear")["deleted"] == {"disk": 1}  # the other team's
    assert "There is no team 'red'" in shell.failure("teams", "delete", "red")


def test_a_lost_encryption_key_is_forgotten_with_what_it_sealed(shell: Shell) -> None:
    assert "there is no database" in shell.failure("encryption-key", "forget", "--yes")
    shell.run("keys", "create", "one")  # needs no encryption key, and makes none
    assert not (home(shell) / "encryption-key").exists()
    with closing(sqlite3.connect(home(shell) / "sluice.db", isolation_level=None)) as db:
        db.execute("INSERT INTO data_keys VALUES ('team:red', '00', 1)")
        shell.run("encryption-key", "forget", code=1)  # nobody said yes
        assert db.execute("SELECT owner FROM data_keys").fetchall() == [("team:red",)]
        shell.run("encryption-key", "forget", "--yes")
        assert db.execute("SELECT owner FROM data_keys").fetchall() == []
