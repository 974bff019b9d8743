"""The database of this machine: how does it answer what a gateway's admin API is asked?

By the same operations, run here: a gateway need not run, and one that does is not disturbed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlencode

from starlette.routing import compile_path

from gateway.cache.epochs import Scope
from gateway.cli.configuration import read
from gateway.cli.database import ledger_path
from gateway.cli.deployment import NotThere, failed
from gateway.cli.localparts import drop, local_generation, local_parts, managed
from gateway.config import Config
from gateway.edge.admin.endpoint import foreseen
from gateway.edge.admin.operation import Ask, Operation, parse_query
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.routes import operations
from gateway.managed import Managed
from gateway.store.database import prepare
from gateway.store.desk import Desk

_LONGEST_REPORT_S = 3600.0

Need = Literal["report", "change", "seal"]
"""A report changes nothing: it neither makes a database nor needs the pepper. Only what seals
needs the encryption key."""

_REPORTS = frozenset({"usage", "calls", "overview", "cache", "audit", "status"})


class LocalDeployment:
    """What is asked is done in the database, via `cli`. A context manager."""

    remote = False

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._config: Config | None = None
        self._parts: dict[Need, AdminParts] = {}

    def __enter__(self) -> LocalDeployment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    @property
    def config(self) -> Config:
        """Read when it is needed first. Raises `ConfigError`."""
        if self._config is None:
            self._config = read(self._config_path)
        return self._config

    def ask(self, method: str, *place: str, body: Any = None, **query: Any) -> Any:
        given = {name: _text(value) for name, value in query.items() if value is not None}
        return self._runner.run(self._answer(method, place, body, given))

    async def _answer(
        self, method: str, place: tuple[str, ...], body: Any, query: Mapping[str, Any]
    ) -> Any:
        parts = await self._opened(_need(method, place[0]))
        operation, path = _operation(parts, method, f"/{'/'.join(place)}")
        try:
            ask = Ask(
                via="cli",
                path=path,
                query=parse_query(urlencode(query, doseq=True).encode(), operation.query),
                body=operation.body.read(body or {}, "") if operation.body else None,
                scope={},
            )
            answer = await operation.act(ask)
        except Exception as error:
            defined = foreseen(error)
            if defined is None:
                raise
            raise failed(defined.status, defined.message) from None
        scope = _cleared(method, place, body or {})
        if scope is not None and isinstance(answer, dict):
            answer["deleted"] = await drop(self.config, self._base_dir, scope)
        return answer

    async def _opened(self, need: Need) -> AdminParts:
        if need not in self._parts:
            desk = self._reading() if need == "report" else self._changing(need == "seal")
            self._stack.push_async_callback(desk.aclose)
            kept = Managed() if need == "report" else await managed(desk)
            self._parts[need] = local_parts(
                desk, local_generation(self.config, self._base_dir, kept)
            )
        return self._parts[need]

    def _reading(self) -> Desk:
        path = ledger_path(self.config, self._config_path)
        return Desk(path, b"", None, longest_read_s=_LONGEST_REPORT_S)

    def _changing(self, sealing: bool) -> Desk:
        """Keys may be made before the first start, so the database is made where it is missing."""
        config = self.config
        encryption = config.encryption if sealing else None
        prepared = prepare(config.database, config.keys, self._base_dir, encryption=encryption)
        return Desk(prepared.path, prepared.pepper, prepared.sealer)

    @property
    def _base_dir(self) -> Path:
        return self._config_path.parent


def _need(method: str, first: str) -> Need:
    if method == "GET":
        return "report" if first in _REPORTS else "change"
    return "seal" if first == "credentials" else "change"


def _operation(parts: AdminParts, method: str, path: str) -> tuple[Operation, Mapping[str, str]]:
    for operation in operations(parts):
        if operation.method == method:
            match = compile_path(operation.path)[0].fullmatch(path)
            if match:
                return operation, match.groupdict()
    raise NotThere(f"there is no {method} {path}")


def _cleared(method: str, place: tuple[str, ...], body: Mapping[str, str]) -> Scope | None:
    """Which entries of the cache are out of use after that, and can be deleted where they lie."""
    if method == "DELETE" and place[0] == "teams":
        return Scope(owner=f"team:{place[1]}")
    if place != ("cache", "clear"):
        return None
    owners = [f"{kind}:{body[kind]}" for kind in ("team", "key") if kind in body]
    return Scope(
        owner="".join(owners),
        namespace=body.get("namespace", ""),
        model=body.get("model", ""),
    )


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
