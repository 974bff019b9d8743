"""The listening side: what is said of an address that cannot be had?"""

from __future__ import annotations

import pytest

from gateway.server import listen


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="already in use") as caught:
            listen("127.0.0.1", port)
    assert caught.value.filename == f"127.0.0.1 port {port}"
