"""The greeting: where is what?"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.store.adminkey import FirstKeys
from gateway.welcome import welcome

EVERYWHERE = "0.0.0.0"  # noqa: S104 - printed, not bound


def greeting(ports: Sequence[int], dashboard_host: str | None) -> list[str]:
    out = io.StringIO()
    welcome(
        out,
        host=EVERYWHERE,
        ports=ports,
        providers=["echo"],
        first=FirstKeys(key=None, admin_secret=None),
        home=Path("nowhere"),
        dashboard_host=dashboard_host,
    )
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("ports", "host", "address"),
    [
        ([8080], EVERYWHERE, "http://127.0.0.1:8080/"),
        ([8080, 8081], "10.1.2.3", "http://10.1.2.3:8081/"),
        ([8080, 8081], "::1", "http://[::1]:8081/"),
    ],
)
def test_the_dashboard_is_where_administration_is(
    ports: Sequence[int], host: str, address: str
) -> None:
    assert f"Dashboard: {address} (sign in with the admin key)" in greeting(ports, host)


def test_a_dashboard_that_is_off_is_not_named() -> None:
    assert greeting([8080], None) == ["Sluice listens on http://127.0.0.1:8080", "Providers: echo"]
