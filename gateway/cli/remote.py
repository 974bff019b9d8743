"""A remote gateway: how is it asked over HTTP?"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request
from urllib.request import build_opener as opener_of

import click

from gateway.cli.commands import Failure
from gateway.cli.configuration import read
from gateway.cli.deployment import failed
from gateway.cli.output import plain

_TIMEOUT_S = 60.0
_MAX_ANSWER_BYTES = 64 * 1024 * 1024


class RemoteDeployment:
    """A gateway's admin API. The key is shown to that address only, and never printed.

    Where that is, and the key, are found out when something is asked.
    """

    remote = True

    def __init__(self, url: str | None, key_file: Path | None, config_path: Path) -> None:
        self._url, self._key_file, self._config_path = url, key_file, config_path
        self._base = ""
        self._key = ""

    def ask(self, method: str, *place: str, body: Any = None, **query: Any) -> Any:
        if not self._base:
            self._connect()
        path = "/".join(quote(part, safe="") for part in place)
        given = {name: _text(value) for name, value in query.items() if value is not None}
        url = f"{self._base}/admin/v1/{path}" + (
            f"?{urlencode(given, doseq=True)}" if given else ""
        )
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        status, text = fetch(self._base, Request(url, sent, headers, method=method))  # noqa: S310
        return self._answer(status, text)

    def _connect(self) -> None:
        self._base = base_url(self._url or configured_url(self._config_path))
        self._key = admin_key(self._key_file)
        if _in_the_clear(self._base):
            click.echo(f"sluice: the admin key goes to {self._base} unencrypted.", err=True)

    def _answer(self, status: int, text: bytes) -> Any:
        data = parsed(text)
        if 200 <= status < 300 and isinstance(data, dict):
            return data
        message = error_message(data)
        if message is None:
            raise Failure(f"what answers at {self._base} is no gateway's admin API: {status}")
        raise failed(status, message)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would take the key along."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def fetch(url: str, request: Request, timeout_s: float = _TIMEOUT_S) -> tuple[int, bytes]:
    """Status and body of an answer. Raises `Failure` where nobody answers at `url`."""
    opener = opener_of(ProxyHandler({}), _NoRedirects())
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return answer.status, answer.read(_MAX_ANSWER_BYTES)
    except HTTPError as error:
        with error:
            return error.code, error.read(_MAX_ANSWER_BYTES)
    except (URLError, HTTPException, TimeoutError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Failure(f"no gateway answers at {url}: {plain(reason)}") from None


def base_url(url: str) -> str:
    """The gateway's own address, whichever of its routes was named."""
    if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
        raise click.UsageError(f"--url: {url!r} is no address of a gateway.")
    return url.rstrip("/").removesuffix("/admin/v1").removesuffix("/v1")


def configured_url(config_path: Path) -> str:
    """Where a gateway with this configuration listens, seen from this machine."""
    server = read(config_path).server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def admin_key(file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """Never an argument: other users of the machine would see it."""
    key = file.read_text("utf-8").strip() if file else environ.get("SLUICE_ADMIN_KEY", "").strip()
    if not key:
        place = f"{file} is empty" if file else "SLUICE_ADMIN_KEY is not set"
        raise click.UsageError(f"A gateway is asked with its admin key, and {place}.")
    if not key.isascii() or not key.isprintable():
        raise click.UsageError("The admin key holds a character that no HTTP header can carry.")
    return key


def parsed(text: bytes) -> Any:
    """An answer's JSON; None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def error_message(data: Any) -> str | None:
    """What an error in the one shape says, fit for a terminal."""
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict) or "message" not in error:
        return None
    return "\n".join(plain(line) for line in str(error["message"]).splitlines())


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return list(value) if isinstance(value, list | tuple) else str(value)


def _in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return parts.scheme == "http" and not here
