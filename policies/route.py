"""Route: may they use this model, and which targets serve it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.directory import Directory, Resolution
from gateway.errors import CapabilityMissing, ModelNotAllowed, ProviderNotFound
from gateway.exchange import JSON, Call, Handler, Reply
from gateway.keys import VirtualKey
from gateway.picking import Picker
from gateway.targets import Target
from gateway.trace import Routed, Skipped

# Two names of one parameter: providers refuse a request that has both.
_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class Route:
    """Finds the targets of the model that was asked for, and passes over the incapable ones.

    `needs` tells what a body asks of a model: names of `Model`'s capabilities. `picker` puts the
    targets in order. An alias's parameters and system message are joined to the caller's; the
    caller's win. Targets of its fallbacks come after its own, if the key may use those aliases.
    """

    def __init__(
        self, directory: Directory, needs: Callable[[JSON], frozenset[str]], picker: Picker
    ) -> None:
        self._directory = directory
        self._needs = needs
        self._picker = picker

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if call.key is None:
            raise RuntimeError("Keys comes before Route")
        resolution = await self._directory.resolve(call.model, call.key)
        if not resolution.allowed_by(call.key):
            raise ModelNotAllowed(
                f"This API key may not use the model {call.model}.", param="model"
            )
        body = joined(call.body, resolution.targets[0])
        targets = self._capable(call, body, resolution.targets)
        targets = self._picker.order(call, resolution, targets)
        if resolution.fallbacks:
            borrowed = await self._borrowed(call, call.key, body, resolution)
            targets = self._picker.healthy_first([*targets, *borrowed])
        call.trace.add(Routed(call.model, resolution.alias, targets))
        return await call_next(call.with_(candidates=targets, body=body))

    async def _borrowed(
        self, call: Call, key: VirtualKey, body: JSON, resolution: Resolution
    ) -> list[Target]:
        """The targets of the fallbacks: an alias that cannot serve this call is passed over."""
        found: list[Target] = []
        for name in resolution.fallbacks:
            try:
                other = await self._directory.resolve(name, key)
                if not other.allowed_by(key):
                    call.trace.add(Skipped(name, "not allowed"))
                    continue
                able = self._capable(call, body, other.targets)
            except (ProviderNotFound, CapabilityMissing):
                continue
            found += [
                replace(target, fallback=name, fallback_on=resolution.fallback_on)
                for target in self._picker.order(call, other, able)
            ]
        return found

    def _capable(self, call: Call, body: JSON, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        needs = self._needs(body)
        if not needs:
            return targets
        capable: list[Target] = []
        lacking: set[str] = set()
        for target in targets:
            missing = {need for need in needs if getattr(target.model, need) is False}
            if missing:
                lacking |= missing
                call.trace.add(Skipped(target.name, ", ".join(sorted(missing))))
            else:
                capable.append(target)
        if not capable:
            raise CapabilityMissing(
                f"The model {call.model} does not support: {', '.join(sorted(lacking))}.",
                param="model",
            )
        return tuple(capable)


def joined(body: JSON, target: Target) -> JSON:
    """The caller's body with the alias's default parameters and system message."""
    if not target.params and target.system is None:
        return body
    defaults = {
        name: value for name, value in target.params.items() if _OTHER_NAMES.get(name) not in body
    }
    body = {**defaults, **body}
    if target.system is not None:
        body["messages"] = _with_system(body["messages"], target.system)
    return body


def _with_system(messages: list[JSON], system: str) -> list[JSON]:
    """The alias's message first; a caller's own system message is appended to it."""
    first = messages[0]
    if first["role"] not in ("system", "developer"):
        return [{"role": "system", "content": system}, *messages]
    content = first["content"]
    if isinstance(content, str):
        content = f"{system}\n\n{content}"
    else:
        content = [{"type": "text", "text": system}, *content]
    return [{**first, "content": content}, *messages[1:]]
