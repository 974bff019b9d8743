"""Providers: which ones are switched on, and with which credentials?

A provider is on when everything that it names by `env:` or `file:` is there. One that is off is
no error, unless it says `required = true`; `sluice check` tells what it misses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway import config, targets
from gateway.config import ConfigError
from gateway.kinds import KINDS, Kind
from gateway.managed import DEFAULT, Managed, ManagedCredential
from gateway.references import Missing, dereference
from gateway.tables import Problem, shown, suggestion
from gateway.targets import Credential, LaneName, ProviderEntry

# A provider never sees what opens the gateway, nor the framing of the client's own request.
_NEVER_FORWARDED = frozenset(
    [
        "authorization",
        "api-key",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
    ]
)


@dataclass(frozen=True, slots=True)
class ProviderState:
    """What became of one provider. `entry` is None while it is off; `missing` says why."""

    name: str
    entry: ProviderEntry | None
    missing: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


_NOTHING_MANAGED = Managed()


def sound_providers(
    settings: config.Config,
    environ: Mapping[str, str],
    base_dir: Path,
    managed: Managed = _NOTHING_MANAGED,
) -> list[ProviderState]:
    """As `provider_states`. Raises `ConfigError` if one of them has a problem."""
    states = provider_states(settings, environ, base_dir, managed)
    problems = [str(problem) for state in states for problem in state.problems]
    if problems:
        raise ConfigError(problems)
    return states


def provider_states(
    settings: config.Config,
    environ: Mapping[str, str],
    base_dir: Path,
    managed: Managed = _NOTHING_MANAGED,
) -> list[ProviderState]:
    """Every configured provider, on or off. Relative `file:` paths start at `base_dir`.

    A managed credential goes before the file's of the same name, which then may be missing.
    """
    return [
        _Resolution(name, provider, environ, base_dir, managed.of_provider(name)).state()
        for name, provider in settings.providers.items()
    ]


class _Resolution:
    """One provider on its way from the file to an entry."""

    def __init__(
        self,
        name: str,
        settings: config.Provider,
        environ: Mapping[str, str],
        base_dir: Path,
        managed: Sequence[ManagedCredential],
    ) -> None:
        self.name = name
        self.settings = settings
        self._managed = {held.credential.name: held for held in managed}
        self._environ = environ
        self._base_dir = base_dir
        self._missing: list[str] = []
        self._problems: list[Problem] = []

    def state(self) -> ProviderState:
        kind = KINDS.get(self.settings.kind)
        if kind is None:
            message = f"unknown kind; {suggestion(self.settings.kind, KINDS)}"
            self._problem("kind", message=message, value=self.settings.kind)
            return self._state(None)
        lane = self._lane(kind)
        base_url = self._base_url(kind, lane)
        entry = self._entry(kind, lane, base_url)
        if self._missing and self.settings.required:
            for what in self._missing:
                message = f"the provider is required and {what} is missing"
                self._problem("required", message=message, value="true")
        return self._state(None if self._missing or self._problems else entry)

    def _state(self, entry: ProviderEntry | None) -> ProviderState:
        return ProviderState(self.name, entry, tuple(self._missing), tuple(self._problems))

    def _entry(self, kind: Kind, lane: LaneName, base_url: str | None) -> ProviderEntry:
        settings = self.settings
        default, named = self._default(), self._named()
        provider = targets.Provider(
            name=self.name,
            kind=kind.name,
            lane=lane,
            base_url=base_url,
            limits=settings.limits,
            headers=self._in_header(settings.headers, ("headers",)),
            forward_headers=self._forward_headers(),
            use_env_proxies=settings.use_env_proxies,
            options=self._values(settings.options),
        )
        return ProviderEntry(
            provider=provider,
            default=default,
            named=named,
            rotated=self._rotated(named),
            models=settings.models,
            list_models=settings.list_models,
        )

    def _default(self) -> Credential:
        if DEFAULT in self._managed:
            return self._managed[DEFAULT].credential
        settings = self.settings
        api_key = self._in_header({"api_key": settings.api_key or ""}, ())
        return Credential(DEFAULT, api_key.get("api_key", ""), self._values(settings.secrets))

    def _named(self) -> dict[str, Credential]:
        own = {n: v for n, v in self.settings.credentials.items() if n not in self._managed}
        values = self._in_header(own, ("credentials",))
        found = {name: Credential(name, secret) for name, secret in values.items()}
        kept = {name: held.credential for name, held in self._managed.items() if name != DEFAULT}
        return found | kept

    def _rotated(self, named: Mapping[str, Credential]) -> tuple[str, ...]:
        kept = (name for name, held in self._managed.items() if held.rotate and name != DEFAULT)
        return tuple(n for n in dict.fromkeys((*self.settings.rotate, *kept)) if n in named)

    def _lane(self, kind: Kind) -> LaneName:
        lane = self.settings.lane or kind.lane
        if (lane == "echo") != (kind.lane == "echo"):
            message = f'kind "{self.settings.kind}" is not served by this lane'
            self._problem("lane", message=message, value=lane)
        return lane

    def _base_url(self, kind: Kind, lane: LaneName) -> str | None:
        given = self.settings.base_url
        value = None if given is None else self._value(given)
        default = kind.base_url if lane == "native" else None
        if value is None:
            needed = kind.needs_base_url or lane == "native"
            if needed and default is None and not self._missing:
                self._problem("base_url", message=f'kind "{self.settings.kind}" needs one')
            return default
        fault = _url_fault(value)
        if fault:
            self._problem("base_url", message=fault, value=given)
            return None
        url = value.rstrip("/")
        return f"{url}/v1" if kind.v1 and lane == "native" and not urlsplit(url).path else url

    def _forward_headers(self) -> tuple[str, ...]:
        names = tuple(name.lower() for name in self.settings.forward_headers)
        for name in names:
            if name in _NEVER_FORWARDED:
                message = "this header is never sent to a provider"
                self._problem("forward_headers", message=message, value=name)
        return names

    def _values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values behind references; what is optional and missing is left out."""
        found = {name: self._value(v) if isinstance(v, str) else v for name, v in given.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _in_header(self, given: Mapping[str, str], setting: tuple[str, ...]) -> dict[str, str]:
        """As `_values`, for values that travel in HTTP headers."""
        values = self._values(given)
        for name, value in values.items():
            if not (value.isascii() and value.isprintable()):
                message = "holds a character that no HTTP header can carry"
                self._problem(*setting, name, message=message)
        return values

    def _value(self, text: str) -> str | None:
        value = dereference(text, self._environ, self._base_dir)
        if isinstance(value, Missing):
            if not value.optional:
                self._missing.append(value.what)
            return None
        return value

    def _problem(self, *parts: str, message: str, value: str | None = None) -> None:
        path = ("providers", self.name, *parts)
        text = None if value is None else shown(path, value)
        self._problems.append(Problem(path, message, text))


def _url_fault(url: str) -> str | None:
    """Why this is no address to call; the address itself is not repeated."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises for a port that is none)
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return "must not contain credentials; use api_key or headers"
    if not parts.hostname or parts.query or parts.fragment:
        return "must be scheme, host and path only"
    return None
