"""What answers: the running gateway, and on request the providers themselves."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from gateway.catalog import Catalog
from gateway.cli.commands import Failure
from gateway.cli.output import plain
from gateway.cli.remote import configured_url, fetch, parsed
from gateway.cli.verdict import Verdict, Verdicts, fail, ok, skip, warn
from gateway.config import Config
from gateway.errors import ContentFiltered, InvalidPrompt, RateLimited, UpstreamFailure
from gateway.exchange import Call
from gateway.providers import ProviderState
from gateway.targets import ProviderEntry, Target
from gateway.trace import Trace
from gateway.upstream.echo import EchoLane
from gateway.upstream.lanes import Lane
from gateway.upstream.native import NativeLane
from gateway.usage import Usage

_PATIENCE_S = 30.0
_SKEW_S = 5.0


def running(config_path: Path, url: str | None) -> Verdicts:
    """Is the gateway ready? Without an address the configured one on this machine."""
    place = url or configured_url(config_path)
    try:
        status, text = fetch(place, Request(f"{place}/health/ready"), 5.0)  # noqa: S310
    except Failure as failure:
        if url is None:
            yield warn("gateway", failure.message, "Start it: sluice serve.")
        else:
            yield fail("gateway", failure.message, "Start it, or correct the address.")
        return
    told = parsed(text)
    checks: dict[str, Any] = told.get("checks", {}) if isinstance(told, dict) else {}
    bad = [name for name, well in checks.items() if not well]
    if status == 200:
        yield ok("gateway", f"{place} is ready")
    else:
        said = ", ".join(map(plain, bad)) or f"status {status}"
        yield fail("gateway", f"{place} is not ready: {said}", "Its log tells why.")


def real_calls(
    states: Sequence[ProviderState], config: Config, catalog: Catalog, wanted: Sequence[str]
) -> Verdicts:
    """A call of one token to each provider that is on, or to those that are named."""
    for name in wanted:
        if name not in {state.name for state in states}:
            yield fail(f"call {name}", "no such provider", "sluice check lists them.")
    for state in states:
        if wanted and state.name not in wanted:
            continue
        if state.entry is None:
            if wanted:
                yield fail(f"call {state.name}", "it is off", f"{', '.join(state.missing)}")
            continue
        model = _model(state.entry, config, catalog)
        if model is None:
            yield skip(f"call {state.name}", "no model of it is known; name one in its models")
            continue
        yield asyncio.run(_call(state.entry, model, catalog))
        if state.entry.provider.base_url:
            yield from _date(state.name, state.entry.provider.base_url)


def _model(entry: ProviderEntry, config: Config, catalog: Catalog) -> str | None:
    """A listed one, one of an alias, or the cheapest plain one that is known."""
    provider = entry.provider
    targets = (name for alias in config.models.values() for name in alias.names)
    aliased = [name.partition("/")[2] for name in targets if name.startswith(f"{provider.name}/")]
    known = catalog.names(provider.kind, responses=provider.lane == "library")
    plain_ones = [name for name in known if not _SPECIAL.search(name)]
    return next(iter([*entry.models, *aliased]), None) or min(
        plain_ones, key=lambda name: _rank(catalog, entry, name), default=None
    )


_SPECIAL = re.compile("search|research|audio|image|realtime|preview|instruct|moderation|embed|^ft:")
_LITTLE = Usage(prompt_tokens=1000, completion_tokens=1000)


def _rank(catalog: Catalog, entry: ProviderEntry, name: str) -> tuple[bool, bool, int, str]:
    """Those that think first may refuse to answer with one token."""
    model = catalog.model(entry.provider, name)
    cost = 0 if model.price is None else model.price.cost_nano_usd(_LITTLE)
    return (model.price is None, model.hidden_reasoning is not False, cost, name)


async def _call(entry: ProviderEntry, model: str, catalog: Catalog) -> Verdict:
    check = f"call {entry.provider.name}"
    target = Target(
        provider=entry.provider,
        model=catalog.model(entry.provider, model),
        credential=entry.default,
    )
    began = time.monotonic()
    lane = await _lane(entry)
    try:
        await lane(_request(target))
    except (InvalidPrompt, ContentFiltered, RateLimited) as error:
        found = f"{model} was reached, and refuses: {plain(error.message)}"
        return warn(check, found, "The credential is accepted; try another model.")
    except UpstreamFailure as error:
        return fail(check, f"{model}: {plain(error.message)}", _ADVICE.get(error.kind, _ELSE))
    finally:
        await lane.aclose()
    return ok(check, f"{model} answered in {time.monotonic() - began:.2f} s")


_ELSE = "See the provider's status page."
_ADVICE = {
    "authentication": "Replace the credential: sluice credentials add, or its variable.",
    "permission": "Allow the model for this credential at the provider.",
    "quota_exceeded": "Top the provider's account up.",
    "connection": "Look at the network, DNS, proxies, and base_url.",
    "upstream_model_not_found": "List models that the account has.",
}


async def _lane(entry: ProviderEntry) -> Lane:
    if entry.provider.lane == "native":
        return NativeLane()
    if entry.provider.lane == "echo":
        return EchoLane()
    from gateway.upstream.library import LibraryLane

    library = LibraryLane([entry.provider.kind])
    await library.load()
    return library


def _request(target: Target) -> Call:
    body = {
        "model": target.name,
        "messages": [{"role": "user", "content": "Say OK."}],
        "max_tokens": 1,
    }
    loop = asyncio.get_running_loop()
    return Call(
        id=f"doctor_{secrets.token_hex(8)}",
        body=body,
        received_at=time.time(),
        deadline=loop.time() + _PATIENCE_S,
        trace=Trace(),
        target=target,
        attempt=1,
    )


def _date(name: str, base_url: str) -> Verdicts:
    """What time it is at the provider; nothing where it does not say."""
    if not base_url.startswith(("http://", "https://")):
        return
    try:
        with urlopen(Request(base_url, method="HEAD"), timeout=5.0) as answer:  # noqa: S310
            date = answer.headers.get("date")
    except HTTPError as error:
        with error:
            date = error.headers.get("date")
    except (URLError, OSError, ValueError):
        return
    if date is None:
        return
    try:
        skew_s = abs(parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:
        return
    if skew_s > _SKEW_S:
        found = f"{skew_s:.0f} s apart from {name}'s"
        yield warn("clock and provider", found, "Have this machine follow a time server.")
    else:
        yield ok("clock and provider", f"the same as {name}'s")
