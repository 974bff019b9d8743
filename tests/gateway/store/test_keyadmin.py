from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from gateway.keys import KEY_PREFIX, digest
from gateway.store import keytable
from gateway.store.keyadmin import KeyAdmin, UnknownKey
from gateway.store.keytable import KeyDraft
from gateway.store.sqlite import reading
from tests.gateway.store.entries import NOW_MS, Clock, Rows

PEPPER = b"pepper of the tests"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with reading(path) as db:
        yield db


@pytest.fixture
def admin(db: aiosqlite.Connection, clock: Clock) -> KeyAdmin:
    return KeyAdmin(db, PEPPER, clock)


def version(rows: Rows) -> int:
    number: int = rows.all("SELECT version FROM keys_version")[0]["version"]
    return number


async def test_a_key_is_stored_as_a_digest_and_its_secret_nowhere(
    admin: KeyAdmin, rows: Rows
) -> None:
    draft = KeyDraft(
        name="ci",
        team="red",
        models=["gpt-*", "openai/*"],
        tags=["batch"],
        credentials={"openai": "team-red"},
        expires_at_ms=NOW_MS + 1,
    )
    key = await admin.create(draft)
    (row,) = rows.all("SELECT * FROM keys")
    assert row["digest"] == digest(PEPPER, key.secret).hex()
    assert key.secret not in repr(row)
    assert key.secret not in repr(key)
    stored = await admin.show(key.id)
    assert stored == keytable.StoredKey(
        id=key.id,
        name="ci",
        team="red",
        models=("gpt-*", "openai/*"),
        tags=("batch",),
        credentials={"openai": "team-red"},
        settings={},
        prefix=f"{KEY_PREFIX}{key.id}",
        created_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 1,
        revoked_at_ms=None,
        rotated_from=None,
    )
    assert key.secret.startswith(stored.prefix)
    assert (await admin.team_bindings()) == {"red": {}}


async def test_keys_are_listed_newest_first(admin: KeyAdmin, clock: Clock) -> None:
    for name in ("old", "new"):
        clock.now_ms += 1
        await admin.create(KeyDraft(name=name))
    assert [key.name for key in await admin.list()] == ["new", "old"]


async def test_an_id_that_is_taken_is_not_used_again(
    admin: KeyAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(["00000001", "00000001", "00000002"])
    monkeypatch.setattr(
        keytable, "new_secret", lambda: (number := next(ids), f"sk-{number}-{next(secrets)}")
    )
    secrets = iter("abc")
    assert [(await admin.create(KeyDraft(name=name))).id for name in "ab"] == [
        "00000001",
        "00000002",
    ]


async def test_a_revocation_keeps_its_first_time(admin: KeyAdmin, clock: Clock) -> None:
    key = await admin.create(KeyDraft(name="a"))
    for _ in range(2):
        clock.now_ms += 1
        await admin.revoke(key.id)
    assert (await admin.show(key.id)).revoked_at_ms == NOW_MS + 1


@pytest.mark.parametrize(
    ("grace_s", "expires_at_ms", "ends"),
    [
        (0, None, (NOW_MS, None)),
        (60, None, (None, NOW_MS + 60_000)),
        (60, NOW_MS + 10, (None, NOW_MS + 10)),
        (60, NOW_MS + 90_000, (None, NOW_MS + 60_000)),
    ],
)
async def test_a_rotated_key_ends_at_once_or_after_its_grace(
    admin: KeyAdmin, grace_s: float, expires_at_ms: int | None, ends: tuple[int | None, int | None]
) -> None:
    draft = KeyDraft(
        name="a", team="red", models=["m"], tags=["t"], credentials={"p": "c"},
        expires_at_ms=expires_at_ms,
    )  # fmt: skip
    old = await admin.create(draft)
    new = await admin.rotate(old.id, grace_s)
    was, now = await admin.show(old.id), await admin.show(new.id)
    assert (was.revoked_at_ms, was.expires_at_ms if grace_s else None) == ends
    assert new.secret != old.secret
    assert now.rotated_from == old.id
    assert (now.name, now.team, now.models, now.tags) == ("a", "red", ("m",), ("t",))
    assert (now.credentials, now.expires_at_ms) == ({"p": "c"}, expires_at_ms)


async def test_a_revoked_key_cannot_be_rotated(admin: KeyAdmin, rows: Rows) -> None:
    key = await admin.create(KeyDraft(name="a"))
    await admin.revoke(key.id)
    before = version(rows)
    with pytest.raises(UnknownKey, match="is revoked"):
        await admin.rotate(key.id)
    assert len(await admin.list()) == 1
    assert version(rows) == before


async def test_an_unknown_key_is_named(admin: KeyAdmin) -> None:
    for change in (admin.show, admin.revoke, admin.rotate):
        with pytest.raises(UnknownKey, match="'nobody'"):
            await change("nobody")
    with pytest.raises(UnknownKey, match="'nobody'"):
        await admin.bind_key("nobody", {})


async def test_bindings_replace_those_before(admin: KeyAdmin) -> None:
    key = await admin.create(KeyDraft(name="a", credentials={"openai": "one"}))
    await admin.bind_key(key.id, {"anthropic": "two"})
    await admin.bind_team("red", {"openai": "one"})
    await admin.bind_team("red", {"openai": "three"})
    assert (await admin.show(key.id)).credentials == {"anthropic": "two"}
    assert await admin.team_bindings() == {"red": {"openai": "three"}}


async def test_every_change_bumps_the_version(admin: KeyAdmin, rows: Rows) -> None:
    versions = [version(rows)]
    key = await admin.create(KeyDraft(name="a"))
    versions.append(version(rows))
    key = await admin.rotate(key.id)
    versions.append(version(rows))
    await admin.bind_key(key.id, {"p": "c"})
    versions.append(version(rows))
    await admin.bind_team("red", {"p": "c"})
    versions.append(version(rows))
    await admin.revoke(key.id)
    versions.append(version(rows))
    assert versions == list(range(versions[0], versions[0] + 6))


async def test_settings_are_changed_one_by_one_and_kept_by_a_rotation(admin: KeyAdmin) -> None:
    new = await admin.create(KeyDraft(name="a", settings={"rpm": 5}))
    changed = await admin.set_key(new.id, {"cache": True, "rpm": None, "tpm": 9})
    assert changed.settings == {"cache": True, "tpm": 9}
    rotated = await admin.rotate(new.id, 0)
    assert (await admin.show(rotated.id)).settings == {"cache": True, "tpm": 9}


async def test_a_team_has_settings_of_its_own(admin: KeyAdmin) -> None:
    assert await admin.set_team("red", {"rpm": 5}) == {"rpm": 5}
    assert await admin.set_team("red", {"rpm": None, "tpm": 7}) == {"tpm": 7}
    assert await admin.team_settings() == {"red": {"tpm": 7}}
