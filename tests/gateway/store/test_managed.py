"""Credentials and prices that administrators keep: sealed, dated, audited, read by processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from gateway.managed import Managed
from gateway.sealing import Sealer, new_key
from gateway.store.credentials import (
    BadCredential,
    CredentialAdmin,
    CredentialTaken,
    Secret,
    UnknownCredential,
)
from gateway.store.managed import ManagedReader
from gateway.store.prices import BadPrice, PriceAdmin, PriceTaken, UnknownPrice
from gateway.store.sqlite import reading
from tests.gateway.store.entries import NOW_MS, Clock, Rows

SEALER = Sealer(new_key())
SECRET = "sk-provider-secret-4242"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with reading(path) as db:
        yield db


@pytest.fixture
def credentials(db: aiosqlite.Connection, clock: Clock) -> CredentialAdmin:
    return CredentialAdmin(db, SEALER, clock)


@pytest.fixture
def prices(db: aiosqlite.Connection, clock: Clock) -> PriceAdmin:
    return PriceAdmin(db, clock)


async def read(db: aiosqlite.Connection, sealer: Sealer = SEALER) -> Managed:
    reader = ManagedReader(sealer)
    await reader.read(db)
    return reader.managed


def version(rows: Rows) -> int:
    number: int = rows.all("SELECT version FROM keys_version")[0]["version"]
    return number


async def test_a_credential_is_kept_sealed_and_read_by_a_process(
    credentials: CredentialAdmin, db: aiosqlite.Connection, rows: Rows, path: Path
) -> None:
    before = version(rows)
    made = await credentials.add("openai", "research", Secret(secret=SECRET), rotate=True)
    assert version(rows) > before
    assert made.hint == "…4242"
    assert SECRET not in repr(rows.all("SELECT * FROM provider_credentials"))
    assert SECRET not in repr(rows.all("SELECT * FROM audit"))
    for file in path.parent.iterdir():
        assert SECRET.encode() not in file.read_bytes()
    (held,) = (await read(db)).credentials
    assert (held.provider, held.credential.name, held.rotate) == ("openai", "research", True)
    assert held.credential.secret == SECRET
    assert SECRET not in repr(held)


async def test_a_damaged_credential_is_left_out_and_keeps_nobody_from_the_others(
    credentials: CredentialAdmin,
    db: aiosqlite.Connection,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys are read with it: if that failed, all keys would stop working before long."""
    await credentials.add("openai", "research", Secret(secret=SECRET))
    await credentials.add("openai", "damaged", Secret(secret=SECRET))
    await db.execute("UPDATE provider_credentials SET sealed = 'xyz' WHERE name = 'damaged'")
    (held,) = (await read(db)).credentials
    assert held.credential.name == "research"
    assert "damaged" in caplog.text
    assert SECRET not in caplog.text


async def test_a_process_keeps_what_another_has_sealed_with_a_newer_key(
    credentials: CredentialAdmin, db: aiosqlite.Connection, clock: Clock
) -> None:
    """The encryption key is replaced by restarting one process after the other."""
    made = await credentials.add("openai", "research", Secret(secret=SECRET))
    reader = ManagedReader(SEALER)
    await reader.read(db)
    newer = CredentialAdmin(db, Sealer(new_key()), clock)
    await newer.rotate(made.id, Secret(secret=SECRET))
    await reader.read(db)
    (held,) = reader.managed.credentials
    assert held.credential.secret == SECRET
    await newer.remove(made.id)
    await reader.read(db)
    assert reader.managed.credentials == ()


async def test_a_credential_of_several_secrets(
    credentials: CredentialAdmin, db: aiosqlite.Connection
) -> None:
    pair = {"aws_access_key_id": "AKIA", "aws_secret_access_key": SECRET}
    made = await credentials.add("bedrock", "default", Secret(settings=pair))
    assert made.hint == "…"
    (held,) = (await read(db)).credentials
    assert held.credential.settings == pair


async def test_a_rotated_credential_has_its_new_secret_only(
    credentials: CredentialAdmin, db: aiosqlite.Connection, rows: Rows, clock: Clock
) -> None:
    made = await credentials.add("openai", "research", Secret(secret=SECRET))
    clock.now_ms += 5
    again = await credentials.rotate(made.id, Secret(secret="sk-another-secret-4343"))
    assert (again.hint, again.updated_at_ms) == ("…4343", NOW_MS + 5)
    (held,) = (await read(db)).credentials
    assert held.credential.secret == "sk-another-secret-4343"
    actions = [row["action"] for row in rows.all("SELECT action FROM audit ORDER BY id")]
    assert actions == ["credential.create", "credential.rotate"]


async def test_a_removed_credential_is_gone(
    credentials: CredentialAdmin, db: aiosqlite.Connection
) -> None:
    made = await credentials.add("openai", "research", Secret(secret=SECRET))
    await credentials.remove(made.id)
    assert not (await read(db)).credentials
    with pytest.raises(UnknownCredential):
        await credentials.remove(made.id)
    with pytest.raises(UnknownCredential):
        await credentials.rotate(made.id, Secret(secret=SECRET))


async def test_a_name_is_taken_once_for_each_provider(credentials: CredentialAdmin) -> None:
    await credentials.add("openai", "research", Secret(secret=SECRET))
    await credentials.add("mistral", "research", Secret(secret=SECRET))
    with pytest.raises(CredentialTaken):
        await credentials.add("openai", "research", Secret(secret=SECRET))


@pytest.mark.parametrize("secret", ["", "line\nbreak", "gr\u00fc\u00df"])
def test_what_no_header_can_carry_is_no_secret(secret: str) -> None:
    with pytest.raises(BadCredential):
        Secret(secret=secret)


async def test_a_credential_opens_at_its_own_place_only(
    credentials: CredentialAdmin,
    db: aiosqlite.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await credentials.add("openai", "research", Secret(secret=SECRET))
    await credentials.add("mistral", "own", Secret(secret="sk-mistral-secret"))
    await db.execute(
        "UPDATE provider_credentials SET sealed = "
        "(SELECT sealed FROM provider_credentials WHERE provider = 'openai') "
        "WHERE provider = 'mistral'"
    )
    found = await read(db)
    assert [held.provider for held in found.credentials] == ["openai"]
    assert "the stored credential own of mistral" in caplog.text
    assert SECRET not in caplog.text


async def test_another_master_key_opens_nothing(
    credentials: CredentialAdmin, db: aiosqlite.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await credentials.add("openai", "research", Secret(secret=SECRET))
    assert not (await read(db, Sealer(new_key()))).credentials
    assert "research of openai" in caplog.text


async def test_a_process_hears_of_changes_only(
    credentials: CredentialAdmin, db: aiosqlite.Connection
) -> None:
    heard: list[Managed] = []
    reader = ManagedReader(SEALER)
    reader.changed = heard.append
    await reader.read(db)
    assert not heard
    await credentials.add("openai", "research", Secret(secret=SECRET))
    await reader.read(db)
    await reader.read(db)
    assert len(heard) == 1


FIGURES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


async def test_a_price_begins_now_or_later(prices: PriceAdmin, db: aiosqlite.Connection) -> None:
    now = await prices.add("openai/gpt-4o", FIGURES)
    later = await prices.add("openai/gpt-4o", FIGURES, NOW_MS + 1000)
    assert now.price.effective_from_ms == NOW_MS
    assert [price.effective_from_ms for price in (await read(db)).prices] == [
        NOW_MS,
        NOW_MS + 1000,
    ]
    assert [stored.id for stored in await prices.list()] == [now.id, later.id]


async def test_a_moment_has_one_price(prices: PriceAdmin) -> None:
    await prices.add("openai/gpt-4o", FIGURES)
    with pytest.raises(PriceTaken):
        await prices.add("openai/gpt-4o", FIGURES)


async def test_a_price_in_force_stays_and_one_ahead_can_be_taken_back(
    prices: PriceAdmin, clock: Clock, db: aiosqlite.Connection
) -> None:
    now = await prices.add("openai/gpt-4o", FIGURES)
    later = await prices.add("openai/gpt-4o", FIGURES, NOW_MS + 1000)
    with pytest.raises(UnknownPrice, match="in force"):
        await prices.remove(now.id)
    await prices.remove(later.id)
    assert len((await read(db)).prices) == 1
    again = await prices.add("openai/gpt-4o", FIGURES, NOW_MS + 1000)
    clock.now_ms += 1000
    with pytest.raises(UnknownPrice, match="in force"):
        await prices.remove(again.id)


@pytest.mark.parametrize(
    ("model", "figures", "from_ms"),
    [
        ("gpt-4o", FIGURES, None),
        ("openai/", FIGURES, None),
        ("openai/gpt-4o", {}, None),
        ("openai/gpt-4o", {"max_tokens": 1.0}, None),
        ("openai/gpt-4o", {"input_cost_per_token": -1e-6}, None),
        ("openai/gpt-4o", {"input_cost_per_token": 1.0}, None),
        ("openai/gpt-4o", {"input_cost_per_token": float("nan")}, None),
        ("openai/gpt-4o", {"input_cost_per_token": True}, None),
        ("openai/gpt-4o", FIGURES, NOW_MS - 1),
    ],
)
async def test_what_is_no_price_is_refused(
    prices: PriceAdmin, model: str, figures: dict[str, float], from_ms: int | None
) -> None:
    with pytest.raises(BadPrice):
        await prices.add(model, figures, from_ms)
    assert not await prices.list()
