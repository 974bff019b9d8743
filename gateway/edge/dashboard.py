"""The dashboard: which of its files stands at which path?

The files of `gateway/dashboard/` are read at the start, and nothing else is ever answered. They are
the same for everyone and hold no data: that comes from the admin API, and needs a session. A page
is a module of `js/pages/`; each has the same frame, which loads the module by its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.edge.asgi import new_call_id
from gateway.errors import PathNotFound

HOME = "/dashboard"
FILES = Path(__file__).parent.parent / "dashboard"
MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Mapping[str, str] = {
    # To be asked for again each time: an upgrade of the gateway is one of its dashboard.
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_FRAME = "index.html"
_PAGES = "js/pages/"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file as it is answered."""

    body: bytes
    media_type: str
    etag: str


class Dashboard:
    """The files by their paths below `FILES`, and the pages by their names."""

    def __init__(self, directory: Path = FILES) -> None:
        self.files = dict(_read(directory))
        names = (path.removeprefix(_PAGES) for path in self.files if path.startswith(_PAGES))
        self.pages = {name.removesuffix(".js") for name in names if "/" not in name}

    def routes(self) -> list[Route]:
        """What the application adds to its routes."""
        return [
            Route("/", self.root, methods=["GET"]),
            Route(HOME, self.page, methods=["GET"]),
            Route(HOME + "/files/{path:path}", self.file, methods=["GET"]),
            Route(HOME + "/{page}", self.page, methods=["GET"]),
        ]

    async def root(self, request: Request) -> Response:
        """A browser is shown the dashboard. A client with a wrong base URL is told so."""
        if "text/html" not in request.headers.get("accept", ""):
            raise PathNotFound("There is nothing at this path. Is the base URL right?")
        return RedirectResponse(HOME, 303, {"x-request-id": new_call_id(), **HEADERS})

    async def page(self, request: Request) -> Response:
        if request.path_params.get("page", "overview") not in self.pages:
            raise PathNotFound("The dashboard has no such page.")
        return self._answer(request, _FRAME)

    async def file(self, request: Request) -> Response:
        return self._answer(request, request.path_params["path"])

    def _answer(self, request: Request, path: str) -> Response:
        file = self.files.get(path)
        if file is None:
            raise PathNotFound("The dashboard has no such file.")
        headers = {"etag": file.etag, "x-request-id": new_call_id(), **HEADERS}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return _Typed(file.body, 200, headers, file.media_type)


class _Typed(Response):
    """Starlette adds a charset to all text; here the type says it."""

    def __init__(self, body: bytes, status: int, headers: Any, media_type: str) -> None:
        super().__init__(body, status, {**headers, "content-type": media_type})


def _read(directory: Path) -> Iterator[tuple[str, File]]:
    for path in sorted(directory.rglob("*")):
        media_type = MEDIA_TYPES.get(path.suffix)
        if media_type is None or not path.is_file():
            continue
        body = path.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        yield (
            path.relative_to(directory).as_posix(),
            File(body=body, media_type=media_type, etag=etag),
        )
