"""Cache keys: which calls have the same answer?

A key is the SHA-256 of canonical JSON (sorted names, at every level) of all that can make a
difference: the caller's body as it would be sent, so that every field counts, unknown ones too;
the name that was asked for with its targets, never the target that was chosen; the fallbacks that
the key may use, since whoever joins a call may be given theirs; the headers that
are passed on; whose answer it is; and the epoch, which changes when entries are cleared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import orjson

from gateway.cache.epochs import Epochs, labels
from gateway.config import Alias
from gateway.exchange import Call
from gateway.keys import VirtualKey
from gateway.targets import ProviderEntry
from gateway.trace import Routed

# Counted up when the same body would be answered differently by a newer gateway.
VERSION = 1

# How an answer is delivered, not what it says.
_DELIVERY = frozenset({"stream", "stream_options", "sluice"})
# Passed on, but of no influence, and different in every call.
_TRACING = frozenset({"traceparent", "tracestate"})


class Keys:
    """Makes the keys of calls. Aliases and providers are digested once."""

    def __init__(
        self,
        aliases: Mapping[str, Alias],
        providers: Iterable[ProviderEntry],
        epochs: Epochs | None = None,
    ) -> None:
        self._epochs = epochs or Epochs()
        places = [entry.provider for entry in providers]
        self._headers = sorted({h for p in places for h in p.forward_headers} - _TRACING)
        world = [
            [p.name, p.kind, p.lane, p.base_url, repr(sorted(p.options.items()))] for p in places
        ]
        self._world = _digest([VERSION, world]).hex()
        self._aliases = {name: _alias_digest(alias) for name, alias in aliases.items()}

    def digest(self, call: Call, namespace: str | None = None) -> bytes:
        """The key of a call that Route has seen: labels and a SHA-256."""
        routed = call.trace.last(Routed)
        alias = routed.alias if routed else None
        content = {name: value for name, value in call.body.items() if name not in _DELIVERY}
        place = (_key(call).owner, namespace or "", alias or call.model)
        return labels(*place) + _digest(
            [
                self._world,
                self._epochs.of(*place),
                alias,
                _own_targets(call) if alias is None else self._aliases.get(alias),
                sorted({target.fallback for target in call.candidates if target.fallback}),
                _owner(call, namespace),
                {name: call.headers[name] for name in self._headers if name in call.headers},
                content,
            ]
        )


def _own_targets(call: Call) -> list[str]:
    """What a name that is no alias means; a bare one may come to mean another provider."""
    names = {target.name for target in call.candidates}
    return sorted(name for name in names if call.model in (name, name.partition("/")[2]))


def _owner(call: Call, namespace: str | None) -> list[object]:
    """The team, or the key itself if it has none; with the credentials that it is bound to."""
    key = _key(call)
    return [key.owner, namespace, dict(key.credentials)]


def _key(call: Call) -> VirtualKey:
    if call.key is None:
        raise RuntimeError("Keys comes before Cache")
    return call.key


def _alias_digest(alias: Alias) -> str:
    return hashlib.sha256(
        repr((alias.targets, sorted(alias.params.items()), alias.system)).encode()
    ).hexdigest()


def _digest(content: list[object]) -> bytes:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
