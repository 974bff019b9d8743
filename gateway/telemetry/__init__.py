"""Telemetry: is a collector told of calls, and who tells it?

Everything that imports OpenTelemetry stands in this package, in modules that are imported only
where a collector is named: by `[telemetry] otlp_endpoint`, or by the variables of OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Protocol

from gateway.config import ConfigError, Telemetry
from gateway.exchange import Call, Handler
from gateway.ledger import CallRecord
from gateway.targets import Target

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_NOT_INSTALLED = (
    "telemetry.otlp_endpoint: OpenTelemetry is not installed. Install sluice-gateway[otel], or "
    "unset the endpoint (OTEL_SDK_DISABLED=true, if a variable sets it)."
)

Name = Callable[[Target], str]
"""The name of a target among a bounded number of them: `provider/model` or `provider/other`."""


class Teller(Protocol):
    """Tells a collector of calls."""

    def observed(self, lanes: Handler) -> Handler:
        """The lanes, with their answers looked at and the trace passed on."""

    def call_ended(self, call: Call, record: CallRecord) -> None:
        """A sink of the Ledger policy."""


def is_on(settings: Telemetry, environ: Mapping[str, str]) -> bool:
    """Is there a collector, and may it be told anything?"""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return bool(settings.otlp_endpoint or any(environ.get(name) for name in _ENDPOINTS))


def require(settings: Telemetry, environ: Mapping[str, str]) -> None:
    """Raises `ConfigError` where telemetry is on and cannot be."""
    if is_on(settings, environ):
        if not (settings.otlp_endpoint or "http://").startswith(("http://", "https://")):
            raise ConfigError(["telemetry.otlp_endpoint: must begin with http:// or https://"])
        try:
            import_module("gateway.telemetry.export")
        except ModuleNotFoundError as error:
            raise ConfigError([_NOT_INSTALLED]) from error


@asynccontextmanager
async def open_telemetry(
    settings: Telemetry, environ: Mapping[str, str], name: Name
) -> AsyncIterator[Teller | None]:
    """Who tells the collector; None where there is none. What is queued is sent at the end."""
    if not is_on(settings, environ):
        yield None
        return
    require(settings, environ)
    export = import_module("gateway.telemetry.export")
    async with export.exporting(settings, environ, name) as teller:
        yield teller
