"""Which targets serve a model, and what becomes of the body on the way there?"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway.config import Health as Settings
from gateway.directory import Resolution
from gateway.errors import CapabilityMissing, ModelNotAllowed, ModelNotFound
from gateway.exchange import JSON, Call
from gateway.health import Health
from gateway.keys import VirtualKey
from gateway.picking import Picker
from gateway.targets import Target
from gateway.trace import Routed, Skipped
from gateway.wire.requests import requested_capabilities
from policies.route import Route, joined
from tests.builders import Answers, call, completion, target
from tests.fakes.clock import Clock

TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]


class Directory:
    """Resolves every name to the same targets."""

    def __init__(self, *targets: Target, alias: str | None = None) -> None:
        self._targets = targets
        self._alias = alias

    async def resolve(self, name: str, key: VirtualKey) -> Resolution:
        if not self._targets:
            raise ModelNotFound(f"No provider knows {name}.")
        grants = (self._alias,) if self._alias else (self._targets[0].name,)
        return Resolution(alias=self._alias, grants=grants, targets=self._targets)


def route(*targets: Target, alias: str | None = None) -> Route:
    picker = Picker(Health(Settings(), clock=Clock()))
    return Route(Directory(*targets, alias=alias), requested_capabilities, picker)  # type: ignore[arg-type]


async def passed(policy: Route, asked: Call) -> Call:
    answers = Answers(completion())
    await policy(asked, answers)
    (found,) = answers.calls
    return found


def with_params(system: str | None = None, **params: Any) -> Target:
    plain = target()
    return Target(
        provider=plain.provider,
        model=plain.model,
        credential=plain.credential,
        params=params,
        system=system,
    )


# ---------------------------------------------------------------------------- permission


@pytest.mark.parametrize(
    ("models", "alias", "allowed"),
    [
        (("*",), None, True),
        (("fake/*",), None, True),
        (("fake/other",), None, False),
        ((), None, False),
        (("smart",), "smart", True),
        (("fake/*",), "smart", False),
    ],
)
async def test_a_key_may_use_what_it_is_granted(
    models: tuple[str, ...], alias: str | None, allowed: bool
) -> None:
    key = VirtualKey(id="k1", name="k", models=models)
    answers = Answers(completion())
    asked = call(key=key)
    policy = route(target(), alias=alias)
    if allowed:
        await policy(asked, answers)
        assert len(answers.calls) == 1
        return
    with pytest.raises(ModelNotAllowed) as refusal:
        await policy(asked, answers)
    assert (refusal.value.status, refusal.value.param) == (403, "model")
    assert answers.calls == []
    assert asked.trace.all(Routed) == []


async def test_an_unknown_model_is_refused_before_anything_else() -> None:
    with pytest.raises(ModelNotFound):
        await route()(call(), Answers(completion()))


async def test_the_targets_are_on_the_call_in_order_and_in_the_trace() -> None:
    first, second = target("a/x"), target("b/y")
    asked = call()
    found = await passed(route(first, second, alias="smart"), asked)
    assert found.candidates == (first, second)
    assert found.body is asked.body
    assert asked.trace.all(Routed) == [Routed("m", "smart", (first, second))]


# -------------------------------------------------------------------------- capabilities


@pytest.mark.parametrize(
    ("need", "body"),
    [
        ("tools", {"tools": TOOLS}),
        ("vision", {"messages": [{"role": "user", "content": IMAGE}]}),
        ("json_schema", {"response_format": {"type": "json_schema", "json_schema": {}}}),
        ("audio", {"modalities": ["text", "audio"]}),
    ],
)
async def test_a_target_that_cannot_is_passed_over_and_the_trace_says_why(
    need: str, body: JSON
) -> None:
    cannot, unknown, can = (
        target("a/x", model={need: False}),
        target("b/y"),
        target("c/z", model={need: True}),
    )
    asked = call(body=body)
    found = await passed(route(cannot, unknown, can), asked)
    assert found.candidates == (unknown, can)
    assert asked.trace.all(Skipped) == [Skipped("a/x", need)]
    assert asked.trace.all(Routed) == [Routed("m", None, (unknown, can))]


async def test_a_call_that_needs_nothing_passes_over_nobody() -> None:
    cannot = target(model={"tools": False, "vision": False})
    assert (await passed(route(cannot), call())).candidates == (cannot,)


async def test_when_no_target_is_left_the_caller_is_told_what_is_missing() -> None:
    blind, dumb = target("a/x", model={"vision": False}), target("b/y", model={"tools": False})
    asked = call(body={"tools": TOOLS, "messages": [{"role": "user", "content": IMAGE}]})
    answers = Answers(completion())
    with pytest.raises(CapabilityMissing) as refusal:
        await route(blind, dumb)(asked, answers)
    assert refusal.value.status == 400
    assert refusal.value.code == "capability_missing"
    assert "tools, vision" in refusal.value.message
    assert answers.calls == []
    assert asked.trace.all(Skipped) == [Skipped("a/x", "vision"), Skipped("b/y", "tools")]


async def test_what_the_alias_adds_must_be_possible_too() -> None:
    cannot = target(model={"tools": False})
    alias = Target(
        provider=cannot.provider,
        model=cannot.model,
        credential=cannot.credential,
        params={"tools": TOOLS},
    )
    with pytest.raises(CapabilityMissing):
        await route(alias, alias="smart")(call(), Answers(completion()))


# --------------------------------------------------------------- parameters, system message


async def test_the_callers_parameters_win_over_the_aliases() -> None:
    asked = call(body={"temperature": 1.0, "stop": None})
    found = await passed(route(with_params(temperature=0.2, top_p=0.5, stop=["x"])), asked)
    assert found.body["temperature"] == 1.0
    assert found.body["top_p"] == 0.5
    assert found.body["stop"] is None


@pytest.mark.parametrize("theirs", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("ours", ["max_tokens", "max_completion_tokens"])
def test_a_limit_under_its_other_name_wins_too(ours: str, theirs: str) -> None:
    """Providers refuse a request that has both names."""
    body = joined(call(body={theirs: 5}).body, with_params(**{ours: 100}))
    assert body[theirs] == 5
    assert {"max_tokens", "max_completion_tokens"} & set(body) == {theirs}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            [{"role": "user", "content": "q"}],
            [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}],
        ),
        (
            [{"role": "system", "content": "mine", "name": "n"}, {"role": "user", "content": "q"}],
            [
                {"role": "system", "content": "S\n\nmine", "name": "n"},
                {"role": "user", "content": "q"},
            ],
        ),
        (
            [{"role": "developer", "content": "mine"}],
            [{"role": "developer", "content": "S\n\nmine"}],
        ),
        (
            [{"role": "system", "content": [{"type": "text", "text": "mine"}]}],
            [
                {
                    "role": "system",
                    "content": [{"type": "text", "text": "S"}, {"type": "text", "text": "mine"}],
                }
            ],
        ),
    ],
    ids=["none", "system", "developer", "list content"],
)
async def test_the_aliases_system_message_stands_first(
    given: list[JSON], expected: list[JSON]
) -> None:
    asked = call(body={"messages": given})
    before = copy.deepcopy(asked.body)
    found = await passed(route(with_params(system="S")), asked)
    assert found.body["messages"] == expected
    assert asked.body == before, "the caller's body was changed in place"


async def test_an_alias_without_either_leaves_the_body_alone() -> None:
    asked = call()
    assert joined(asked.body, target()) is asked.body
