"""Which tokens are sessions, and until when?"""

from __future__ import annotations

import pytest

from gateway.edge.admin.sessions import LIFE_MS, Sessions, session_token

NOW_MS = 1_700_000_000_000


class World:
    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.secret: bytes | None = b"made of the admin key"
        self.sessions = Sessions(self.current, lambda: self.now_ms)

    async def current(self) -> bytes | None:
        return self.secret


@pytest.fixture
def world() -> World:
    return World()


async def test_a_session_is_valid_until_it_ends(world: World) -> None:
    token, expires_at_ms = await world.sessions.issue()
    assert expires_at_ms == NOW_MS + LIFE_MS
    world.now_ms = expires_at_ms - 1
    assert await world.sessions.valid(token)
    world.now_ms = expires_at_ms
    assert not await world.sessions.valid(token)


async def test_no_two_sessions_are_the_same(world: World) -> None:
    assert (await world.sessions.issue())[0] != (await world.sessions.issue())[0]


async def test_all_sessions_end_with_the_admin_key(world: World) -> None:
    token, _ = await world.sessions.issue()
    world.secret = b"made of another one"
    assert not await world.sessions.valid(token)
    world.secret = None
    assert not await world.sessions.valid(token)
    with pytest.raises(RuntimeError):
        await world.sessions.issue()


async def test_a_forged_session_is_none(world: World) -> None:
    token, expires_at_ms = await world.sessions.issue()
    ends, nonce, signature = token.split(".")
    forged = (
        f"{expires_at_ms + 1}.{nonce}.{signature}",
        f"{ends}.{nonce}x.{signature}",
        f"{ends}.{nonce}.{signature[:-1]}",
        f"{ends}.{nonce}.",
        f"{ends}.{nonce}.é",
        f"{ends}.{nonce}",
        f"-{token}",
        f"{'9' * 5000}.{nonce}.{signature}",
        "",
        "..",
        ".",
        "é.é.é",
    )
    assert await world.sessions.valid(token)
    for text in forged:
        assert not await world.sessions.valid(text), text


@pytest.mark.parametrize(
    ("cookie", "token"),
    [
        ("sluice_session=a.b.c", "a.b.c"),
        ("other=1; sluice_session=a.b.c; third=2", "a.b.c"),
        ("other=1", None),
        ("sluice_session", None),
        ("sluice_session=", ""),
        ("Sluice_Session=a", None),
        ("\x00;=;;", None),
    ],
)
def test_the_session_is_read_from_the_cookie(cookie: str, token: str | None) -> None:
    scope = {"type": "http", "headers": [(b"cookie", cookie.encode("latin-1"))]}
    assert session_token(scope) == token


def test_without_a_cookie_there_is_no_session() -> None:
    assert session_token({"type": "http", "headers": []}) is None
