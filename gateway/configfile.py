"""The configuration file: what does it say, and can it be used?"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway import figures, tables
from gateway.config import Config, ConfigError
from gateway.errors import UpstreamFailure, error_classes
from gateway.providers import provider_states
from gateway.tables import Problem, TableReader, shown, suggestion
from gateway.tomllines import line_numbers, line_of

RETRY_KINDS = tuple(c.kind for c in error_classes(UpstreamFailure) if c is not UpstreamFailure)

# Numbers are never negative; these are not zero either.
_ABOVE_ZERO = frozenset(
    [
        "workers",
        "heartbeat_s",
        "commit_timeout_s",
        "max_stale_s",
        "deadline_s",
        "max_attempts",
        "connect_s",
        "first_event_s",
        "idle_s",
        "total_s",
        "max_line_bytes",
        "max_body_bytes",
        "ttl_s",
        "max_bytes",
        "max_disk_bytes",
        "max_entry_bytes",
        "context_window",
        "max_prompt_tokens",
        "max_completion_tokens",
        "characters_per_token",
        "mixed_characters_per_token",
        "keep_s",
        "max_answer_bytes",
        "timeout_s",
        "consecutive_failures",
        "min_attempts",
        "window_s",
        "bench_s",
        "credential_bench_s",
        "max_bench_s",
        "error_share",
    ]
)
_SHARES = frozenset({"error_share", "budget_share"})
_HIGHEST_PORT = 65535
_SHORTEST_LEASE_S = 2
# What a caller says in every request; an alias that set them would answer something else.
_NEVER_PARAMS = frozenset({"model", "messages", "stream"})


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check `path`. Raises `ConfigError` with one line for each problem there is."""
    source = _source(path)
    try:
        raw = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    reader = TableReader(Config, _number_fault)
    config: Config = reader.read(raw)
    problems = [*reader.problems, *_contradictions(config, raw)]
    for state in provider_states(config, environ, path.parent):
        problems += state.problems
    if problems:
        raise ConfigError(_lines(path, source, problems))
    return config


def _source(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None


def _lines(path: Path, source: str, problems: Iterable[Problem]) -> list[str]:
    numbers = line_numbers(source)
    placed = [(line_of(problem.path, numbers), problem) for problem in problems]
    placed.sort(key=lambda pair: pair[0] or 0)
    return [
        f"{path}:{line}: {problem}" if line else f"{path}: {problem}" for line, problem in placed
    ]


def _number_fault(path: tables.Path, value: float) -> str | None:
    if path[-1] in ("port", "admin_port") and not 0 <= value <= _HIGHEST_PORT:
        return f"must be between 0 and {_HIGHEST_PORT}"
    if path[-1] == "lease_s" and value < _SHORTEST_LEASE_S:
        return f"must be at least {_SHORTEST_LEASE_S}: a lease is renewed every second"
    if path[-1] == "hedge_percentile" and not 0 < value < 100:
        return "must be above 0 and below 100"
    if path[-1] in _SHARES and value > 1:
        return "must be at most 1"
    if path[-1] in _ABOVE_ZERO and value <= 0:
        return "must be above 0"
    return "must not be negative" if value < 0 else None


def _contradictions(config: Config, raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Settings that are well-formed each, but impossible."""
    # By name from the raw file: a provider with a fault of its own is still a known one.
    written = raw.get("providers")
    providers = list(written) if isinstance(written, Mapping) else []
    yield from _server(config)
    yield from _database(config)
    yield from _cache(config)
    yield from _secrets(config)
    yield from _names(providers)
    yield from _aliases(config, providers)
    yield from _rotations(config)
    yield from _model_info(config, providers)
    for target in config.limits.targets:
        yield from _canonical(("limits", "targets", target), target, providers)
    for kind in config.retry.rules:
        if kind not in RETRY_KINDS:
            message = f"unknown kind of error; {suggestion(kind, RETRY_KINDS)}"
            yield Problem(("retry", "rules", kind), message)


def _server(config: Config) -> Iterator[Problem]:
    server = config.server
    if server.admin_port and server.admin_port == server.port:
        yield Problem(("server", "admin_port"), "is the port of the calls; leave it out for that")
    if server.admin_host is not None and server.admin_port is None:
        yield Problem(("server", "admin_host"), "needs an admin_port")


def _database(config: Config) -> Iterator[Problem]:
    path, url = ("database", "url"), config.database.url
    scheme, _, name = url.partition(":")
    if scheme != "sqlite" or not name or name.startswith((":", "//")):
        yield Problem(path, 'must be "sqlite:PATH"', shown(path, url))


def _cache(config: Config) -> Iterator[Problem]:
    if config.cache.store == "redis" and config.redis.url is None:
        yield Problem(("cache", "store"), 'is "redis", but redis.url is not set')


def _secrets(config: Config) -> Iterator[Problem]:
    encryption = config.encryption
    yield from _reference(("keys", "pepper"), config.keys.pepper)
    if encryption.key is not None:
        yield from _reference(("encryption", "key"), encryption.key)
    for old in encryption.old_keys:
        yield from _reference(("encryption", "old_keys"), old)


def _reference(path: tuple[str, ...], written: str) -> Iterator[Problem]:
    scheme, _, name = written.partition(":")
    if scheme not in ("env", "file") or not name:
        # Whatever stands there may be the secret itself.
        yield Problem(path, 'must be "env:NAME" or "file:PATH"')


def _names(providers: Iterable[str]) -> Iterator[Problem]:
    for name in providers:
        if not name or "/" in name or any(c.isspace() for c in name):
            message = "a provider's name has no slash and no white space"
            yield Problem(("providers", name), message)


def _aliases(config: Config, providers: list[str]) -> Iterator[Problem]:
    for name, alias in config.models.items():
        path = ("models", name)
        if "/" in name:
            yield from _canonical(path, name, providers)
        if not alias.targets:
            yield Problem((*path, "targets"), "must name at least one provider/model")
        for target in alias.names:
            yield from _canonical((*path, "targets"), target, providers)
        yield from _fallbacks(config, name)
        for param in _NEVER_PARAMS.intersection(alias.params):
            yield Problem((*path, "params", param), "belongs to the caller; it cannot be set here")


def _fallbacks(config: Config, name: str) -> Iterator[Problem]:
    alias, path = config.models[name], ("models", name)
    others = [other for other in config.models if other != name]
    for other in alias.fallbacks:
        if other not in others:
            message = f"must be another alias; {suggestion(other, others)}"
            yield Problem((*path, "fallbacks"), message, shown(path, other))
    for kind in alias.fallback_on:
        if kind not in RETRY_KINDS:
            message = f"unknown kind of error; {suggestion(kind, RETRY_KINDS)}"
            yield Problem((*path, "fallback_on"), message, shown(path, kind))


def _rotations(config: Config) -> Iterator[Problem]:
    for name, provider in config.providers.items():
        for credential in provider.rotate:
            if credential not in provider.credentials:
                message = f"names no credential; {suggestion(credential, provider.credentials)}"
                yield Problem(("providers", name, "rotate"), message)


def _model_info(config: Config, providers: list[str]) -> Iterator[Problem]:
    for name, info in config.model_info.items():
        path = ("model_info", name)
        yield from _canonical(path, name, providers)
        for figure in info.price:
            if not figures.is_figure(figure):
                message = f"no price per token; {suggestion(figure, figures.KINDS)}"
                yield Problem((*path, "price", figure), message)


def _canonical(path: tables.Path, name: str, providers: list[str]) -> Iterator[Problem]:
    """The problem with `name`, if it is no `provider/model` of a configured provider."""
    provider, slash, model = name.partition("/")
    text = None if path[-1] == name else shown(path, name)
    if not slash or not provider or not model:
        yield Problem(path, "must be provider/model", text)
    elif provider not in providers:
        near = suggestion(provider, providers)
        yield Problem(path, f'unknown provider "{provider}"; {near}', text)
