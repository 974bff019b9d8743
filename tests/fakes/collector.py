"""A collector on 127.0.0.1 that takes OTLP over HTTP and keeps what it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """`with Collector() as collector:`. With `status` it refuses; with `hang` it never answers."""

    def __init__(self, *, status: int = 200, hang: bool = False) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.asked = threading.Event()
        self._released = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                collector.bodies.append((self.path, body))
                collector.asked.set()
                if hang:
                    collector._released.wait(60)
                    return
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Any]:
        return [span for scope, _ in self._scopes() for span in scope]

    def resources(self) -> list[dict[str, str]]:
        return [resource for _, resource in self._scopes()]

    def metrics(self) -> set[str]:
        requests = [ExportMetricsServiceRequest.FromString(b) for b in self._of("/v1/metrics")]
        return {
            metric.name
            for request in requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def _scopes(self) -> Iterator[tuple[list[Any], dict[str, str]]]:
        for body in self._of("/v1/traces"):
            for told in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans = [span for scope in told.scope_spans for span in scope.spans]
                yield spans, {a.key: a.value.string_value for a in told.resource.attributes}

    def _of(self, path: str) -> list[bytes]:
        return [body for at, body in self.bodies if at == path]
