"""The HTTP application: which path is answered by whom?

Every route but the ones in `OPEN` and the dashboard's files authenticates.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.edge.asgi import new_call_id
from gateway.errors import InternalError, MethodNotAllowed, PathNotFound, SluiceError

OPEN = ("/health/live", "/health/ready")


def build_app(
    *,
    chat: ASGIApp,
    explain: ASGIApp,
    models: ASGIApp,
    live: ASGIApp,
    ready: ASGIApp,
    metrics: ASGIApp,
    admin: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application around its endpoints. `admin` are the operator's routes and pages."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/explain", explain, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/models/{name:path}", models, methods=["GET"]),
            Route("/health/live", live, methods=["GET"]),
            Route("/health/ready", ready, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            *admin,
        ],
        exception_handlers={
            HTTPException: _http_error,
            SluiceError: _sluice_error,
            Exception: _unforeseen,
        },
    )
    app.router.redirect_slashes = False
    return app


def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405 in OpenAI's shape."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        refusal: SluiceError = MethodNotAllowed(f"This path answers to {allowed or 'POST'} only.")
        return _answer(refusal, {"allow": allowed} if allowed else {})
    return _answer(PathNotFound("There is nothing at this path. Is the base URL right?"))


def _sluice_error(request: Request, error: Exception) -> Response:
    return _answer(error if isinstance(error, SluiceError) else InternalError("Failed."))


def _unforeseen(request: Request, error: Exception) -> Response:
    return _answer(InternalError("The gateway failed. Its log tells why."))


def _answer(error: SluiceError, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(error.body()),
        error.status,
        {"x-request-id": new_call_id(), **error.headers(), **(headers or {})},
        "application/json",
    )
