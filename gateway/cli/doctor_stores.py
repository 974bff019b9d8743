"""What the gateway keeps things in: the database, Redis, and the clocks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import redis

from gateway.cli.verdict import Verdict, Verdicts, fail, ok, skip, warn
from gateway.config import Config, ConfigError
from gateway.sharing import redis_address
from gateway.store import masterkey, pepper
from gateway.store.faults import NewerDatabase, OlderDatabase, StoreFault
from gateway.store.migrate import require_head
from gateway.store.sqlite import BUSY_TIMEOUT_S, database_path

_LITTLE_BYTES = 1_000_000_000
_NO_BYTES = 100_000_000
_SLOW_S = 0.05
_SKEW_S = 2.0
_REDIS_PATIENCE_S = 5.0


def database(config: Config, base_dir: Path) -> Verdicts:
    """Opened as it is: nothing is made or migrated here."""
    path = database_path(config.database.url, base_dir)
    yield _space(path)
    if not path.exists():
        yield warn("database", f"{path} is not there", "sluice serve makes it at its first start.")
        return
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
            yield from _opened(db, path, config, base_dir)
    except sqlite3.Error as error:
        yield fail("database", f"{path}: {error}", "Restore a backup; see docs/deployment.md.")


def _opened(db: sqlite3.Connection, path: Path, config: Config, base_dir: Path) -> Verdicts:
    size = f"{path.stat().st_size / 1_000_000:.1f} MB"
    (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        yield fail("database", f"damaged: {sound}", "Stop the gateway and restore a backup.")
        return
    yield ok("database", f"{path}, {size}, sound")
    try:
        require_head(db)
    except OlderDatabase as error:
        yield warn("migrations", str(error), "The next start of sluice serve migrates it.")
        return
    except NewerDatabase as error:
        yield fail("migrations", str(error), "Use the release that made it.")
        return
    yield ok("migrations", "of this release")
    yield _writable(db)
    yield _agreed("pepper", lambda: pepper.require_known(db, config.keys.pepper, base_dir))
    yield _agreed(
        "encryption key",
        lambda: masterkey.known_sealer(db, path.parent, config.encryption, base_dir) is not None,
    )
    yield _not_ahead(db)


def _writable(db: sqlite3.Connection) -> Verdict:
    (mode,) = db.execute("PRAGMA journal_mode").fetchone()
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        advice = "Somebody holds it, or the file or its directory is read-only."
        return fail("writing", str(error), advice)
    if mode != "wal":
        return warn("writing", f"journal mode {mode}", "The next start of sluice serve sets WAL.")
    return ok("writing", "can be written, WAL")


def _agreed(name: str, known: Callable[[], bool]) -> Verdict:
    try:
        there = known()
    except StoreFault as error:
        return fail(name, str(error), "Nothing works without it: restore it from a backup.")
    return ok(name, "fits the database") if there else skip(name, "made at the first start")


def _not_ahead(db: sqlite3.Connection) -> Verdict:
    """A clock that was set back would hide calls from reports and keep budgets from ending."""
    (last_ms,) = db.execute("SELECT MAX(received_at_ms) FROM calls").fetchone()
    ahead_s = (last_ms or 0) / 1000 - time.time()
    if ahead_s > _SKEW_S:
        found = f"the newest call is {ahead_s:.0f} s in the future"
        return fail("clock and ledger", found, "Set this machine's clock: it went back.")
    return ok("clock and ledger", "no call is in the future")


def _space(path: Path) -> Verdict:
    place = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 1_000_000_000:.1f} GB are free"
    if free < _NO_BYTES:
        return fail("disk", found, "Make room: calls are refused when the ledger is full.")
    if free < _LITTLE_BYTES:
        return warn("disk", found, "Make room, or sluice prune --older-than 90d.")
    return ok("disk", found)


def redis_server(config: Config, base_dir: Path) -> Verdicts:
    """Where one is configured."""
    try:
        url = redis_address(config, os.environ, base_dir)
    except ConfigError as error:
        yield fail("Redis", str(error), "Set it, or remove redis.url.")
        return
    if url is None:
        yield skip("Redis", "not configured: limits and cache are each process's own")
        return
    with closing(
        redis.Redis.from_url(
            url, socket_timeout=_REDIS_PATIENCE_S, socket_connect_timeout=_REDIS_PATIENCE_S
        )
    ) as client:
        try:
            yield from _asked(client)
        except (redis.RedisError, OSError) as error:
            # Its text may hold the address, and so a password.
            advice = "Start it, or correct redis.url; without it each process limits for itself."
            yield fail("Redis", f"not reachable: {type(error).__name__}", advice)


def _asked(client: redis.Redis) -> Verdicts:
    client.ping()
    began = time.monotonic()
    client.ping()
    took_s = time.monotonic() - began
    version = client.info("server")["redis_version"]
    found = f"version {version}, answers in {took_s * 1000:.1f} ms"
    if took_s > _SLOW_S:
        yield warn("Redis", found, "It is slow or far: each limited call waits for it.")
    else:
        yield ok("Redis", found)
    seconds, microseconds = client.time()
    skew_s = abs(seconds + microseconds / 1e6 - time.time())
    if skew_s > _SKEW_S:
        found = f"{skew_s:.1f} s apart from Redis's"
        yield warn("clock and Redis", found, "Have both machines follow the same time server.")
    else:
        yield ok("clock and Redis", "the same")


class Clock:
    """Did the wall clock jump while the others were looked at?"""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._since = wall() - steady()

    def verdict(self) -> Verdict:
        jump_s = self._wall() - self._steady() - self._since
        if abs(jump_s) > _SKEW_S:
            found = f"jumped by {jump_s:.1f} s meanwhile"
            return warn("clock", found, "Have the machine follow a time server.")
        return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._wall())))
