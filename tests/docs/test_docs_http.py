"""Are all routes, headers, controls, metrics and fields of the log documented, and no others?"""

from __future__ import annotations

import ast
import io
import json
import re
from typing import Any

import httpx
import pytest

from gateway.app import build_app
from gateway.calllog import CallLog
from gateway.edge.dashboard import Dashboard
from gateway.errors import InvalidRequest
from gateway.record import call_record
from gateway.wire.requests import parse_chat_request
from tests.builders import call
from tests.docs.documents import ROOT, Document, codes
from tests.gateway_process import GatewayProcess
from tests.metrics_view import every_metric

HTTP = Document.read("docs/http.md")
METRICS = Document.read("docs/metrics.md")
REQUEST_HEADERS = {codes(row[0])[0] for row in HTTP.section("Requests").rows()}
RESPONSE_HEADERS = {codes(row[0])[0] for row in HTTP.section("Answers").rows()}


async def nothing(scope: object, receive: object, send: object) -> None: ...


def test_every_route_is_documented_and_no_other() -> None:
    parts = ("chat", "explain", "models", "live", "ready", "metrics")
    app = build_app(**dict.fromkeys(parts, nothing), admin=Dashboard().routes())
    routes = {
        f"{method} {route.path.replace(':path', '')}"  # type: ignore[attr-defined]
        for route in app.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert {codes(row[0])[0] for row in HTTP.section("Routes").rows()} == routes


def constants() -> set[str]:
    """Every constant text of the modules that read or write headers."""
    edge = ("app.py", "errors.py", "record.py", "edge/*.py", "../policies/idempotency.py")
    nodes = (
        node
        for pattern in edge
        for file in (ROOT / "gateway").glob(pattern)
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
    )
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    texts = (v.decode("latin-1") if isinstance(v, bytes) else v for v in values)
    return {text for text in texts if isinstance(text, str)}


def test_every_header_of_ours_is_documented_and_no_other() -> None:
    texts = constants()
    ours = {t for t in texts if re.fullmatch(r"(x|retry|api)-[a-z-]+", t) or t == "forwarded"}
    assert ours - REQUEST_HEADERS - RESPONSE_HEADERS == set()
    assert (REQUEST_HEADERS | RESPONSE_HEADERS) - texts == set()


def test_every_header_that_is_answered_is_documented(echo_gateway: GatewayProcess) -> None:
    key = {"authorization": f"Bearer {echo_gateway.key}"}
    body: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.Client(base_url=echo_gateway.url, headers=key) as client:
        answers = [
            client.post("/v1/chat/completions", json=body),
            client.post("/v1/chat/completions", json={**body, "stream": True}),
            client.post("/v1/chat/completions", json={}),
            client.delete("/v1/models"),
            *(client.get(path) for path in ("/v1/models", "/health/ready", "/metrics", "/no")),
        ]
    seen = {name for answer in answers for name in answer.headers}
    assert seen - RESPONSE_HEADERS - {"date", "transfer-encoding"} == set()


def test_every_control_is_documented_and_no_other() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_chat_request(b'{"sluice": {"unknown": 1}}')
    known = refused.value.message.partition("Known here: ")[2].rstrip(".").split(", ")
    rows = HTTP.section("Request controls").rows()
    assert [codes(row[0])[0] for row in rows] == known
    assert {codes(row[1])[0] for row in rows} == {t for t in REQUEST_HEADERS if "sluice" in t}


def test_every_metric_is_documented_and_no_other() -> None:
    shown = every_metric()
    types = dict(re.findall(r"# TYPE (\w+) (\w+)", shown.render()[0].decode()))
    labels = {
        name: list(collector._labelnames)  # type: ignore[attr-defined] # of all of ours
        for collector, names in shown.registry._collector_to_names.items()
        for name in names
    }
    expected = {name: (kind, labels[name]) for name, kind in types.items()}
    rows = METRICS.section("Metrics").rows()
    assert {codes(name)[0]: (kind, codes(labels)) for name, kind, labels, _ in rows} == expected


def test_every_field_of_the_log_is_documented_and_no_other() -> None:
    out = io.BytesIO()
    made = call()
    CallLog(out).call_ended(made, call_record(made, 200, None))
    fields = [name for row in METRICS.section("The log").rows() for name in codes(row[0])]
    assert fields == list(json.loads(out.getvalue()))
