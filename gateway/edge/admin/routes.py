"""The routes of the admin API. The list of resources is the list of what an operator can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from starlette.routing import Route

from gateway.edge.admin.audit import Audit
from gateway.edge.admin.budgets import Budgets
from gateway.edge.admin.cache import Cache
from gateway.edge.admin.calls import Calls
from gateway.edge.admin.configuration import Configuration
from gateway.edge.admin.endpoint import Endpoint
from gateway.edge.admin.keys import Keys
from gateway.edge.admin.live import LiveCalls
from gateway.edge.admin.openapi import OpenAPI
from gateway.edge.admin.operation import Operation
from gateway.edge.admin.overview import OverviewPage
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.prices import Prices
from gateway.edge.admin.providers import Providers
from gateway.edge.admin.session import Session
from gateway.edge.admin.status import Status
from gateway.edge.admin.targets import Targets
from gateway.edge.admin.teams import Teams
from gateway.edge.admin.usage import Usage

BASE = "/admin/v1"


class Resource(Protocol):
    """A module of this package: a class that is made of `AdminParts` and lists its operations."""

    def operations(self) -> Iterator[Operation]: ...


def resources(parts: AdminParts) -> list[Resource]:
    """One line each. Of two paths that fit a request, the first is taken."""
    return [
        Session(parts),
        Keys(parts),
        Teams(parts),
        Budgets(parts),
        OverviewPage(parts),
        Usage(parts),
        LiveCalls(parts),
        Calls(parts),
        Cache(parts),
        Providers(parts),
        Prices(parts),
        Targets(parts),
        Configuration(parts),
        Status(parts),
        Audit(parts),
    ]


def operations(parts: AdminParts) -> list[Operation]:
    """All of them, the document about them included."""
    found = [each for resource in resources(parts) for each in resource.operations()]
    return [*found, *OpenAPI(BASE, found).operations()]


def admin_routes(parts: AdminParts) -> list[Route]:
    """What the application adds to its routes."""
    guard = parts.guard
    by_path: dict[str, list[Operation]] = {}
    for operation in operations(parts):
        by_path.setdefault(operation.path, []).append(operation)
    return [_route(path, Endpoint(found, guard)) for path, found in by_path.items()]


def _route(path: str, endpoint: Endpoint) -> Route:
    return Route(BASE + path, endpoint, methods=endpoint.methods)
