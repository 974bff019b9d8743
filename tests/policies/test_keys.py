"""Who is admitted?"""

from __future__ import annotations

import pytest

from gateway.errors import InvalidKey, Unavailable
from gateway.keys import VirtualKey
from gateway.trace import Identified
from policies.keys import Keys
from tests.builders import Answers, call, completion

NOW = 1_700_000_000.0


class Keyring:
    """One key, behind the secret `sk-good`."""

    def __init__(self, key: VirtualKey, fault: Exception | None = None) -> None:
        self._key = key
        self._fault = fault

    async def find(self, secret: str) -> VirtualKey | None:
        if self._fault:
            raise self._fault
        return self._key if secret == "sk-good" else None


def keys(fault: Exception | None = None, **key: float | None) -> Keys:
    found = VirtualKey(id="k9", name="nine", **key)  # type: ignore[arg-type]
    return Keys(Keyring(found, fault), lambda: NOW)


async def test_a_known_key_is_put_on_the_call_and_into_its_trace() -> None:
    answers = Answers(completion())
    asked = call(key=None, credential="sk-good")
    await keys()(asked, answers)
    (passed,) = answers.calls
    assert passed.key is not None
    assert passed.key.id == "k9"
    assert asked.trace.all(Identified) == [Identified(passed.key)]
    assert asked.key is None


@pytest.mark.parametrize("secret", [None, "", "sk-bad", "sk-good "])
async def test_a_missing_or_unknown_key_is_refused(secret: str | None) -> None:
    answers = Answers(completion())
    asked = call(key=None, credential=secret)
    with pytest.raises(InvalidKey) as refusal:
        await keys()(asked, answers)
    assert refusal.value.status == 401
    assert refusal.value.code == "invalid_api_key"
    assert "sk-good" not in refusal.value.message
    assert "sk-bad" not in refusal.value.message
    assert answers.calls == []
    assert asked.trace.facts == []


@pytest.mark.parametrize(
    ("key", "admitted"),
    [
        ({"expires_at": NOW + 0.001}, True),
        ({"expires_at": NOW}, False),
        ({"expires_at": NOW - 0.001}, False),
        ({"revoked_at": NOW + 0.001}, True),
        ({"revoked_at": NOW}, False),
        ({"revoked_at": NOW - 3600}, False),
        ({"revoked_at": NOW - 1, "expires_at": NOW + 3600}, False),
        ({"expires_at": None, "revoked_at": None}, True),
    ],
)
async def test_a_key_ends_at_the_very_moment_it_expires_or_is_revoked(
    key: dict[str, float | None], admitted: bool
) -> None:
    policy = keys(**key)
    if admitted:
        assert (await policy.admit("sk-good")).id == "k9"
    else:
        with pytest.raises(InvalidKey, match="k9"):
            await policy.admit("sk-good")


async def test_without_the_store_nobody_is_admitted_nor_called_unknown() -> None:
    answers = Answers(completion())
    with pytest.raises(Unavailable) as refusal:
        await keys(Unavailable("Keys cannot be checked."))(
            call(key=None, credential="sk-good"), answers
        )
    assert refusal.value.status == 503
    assert answers.calls == []
