"""Is every route and every field of the admin API documented, and no other?"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gateway.edge.admin.routes import operations
from gateway.store.audit import VIAS, AuditRow
from tests.docs.documents import Document, codes

ADMIN = Document.read("docs/admin-api.md")
NO_PARTS: Any = None  # nothing is asked


def test_every_route_is_documented_with_its_summary_and_no_other() -> None:
    routes = {f"{o.method} {o.path.replace(':path', '')}": o.summary for o in operations(NO_PARTS)}
    rows = ADMIN.section("Routes").rows()
    assert {codes(row[0])[0]: row[1] for row in rows} == routes


def test_the_open_routes_are_named() -> None:
    section = ADMIN.section("Routes")
    (sentence,) = (p for p in section.text.split("\n\n") if p.strip().endswith("open to anyone."))
    assert set(codes(sentence)) == {f"{o.method} {o.path}" for o in operations(NO_PARTS) if o.open}


def test_the_fields_of_the_audit_are_documented() -> None:
    rows = ADMIN.section("The audit").rows()
    assert [name for row in rows for name in codes(row[0])] == [f.name for f in fields(AuditRow)]
    (via,) = (row[1] for row in rows if codes(row[0]) == ["via"])
    assert codes(via) == list(VIAS)
