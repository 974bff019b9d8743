import pytest

from gateway.upstream.failures import retry_after
from gateway.upstream.retry_after import MAX_S

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "1e12"}, MAX_S),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_a_providers_wish_is_read_in_every_form(headers: dict[str, str], wait: float | None):
    assert retry_after(headers, None, NOW) == wait


@pytest.mark.parametrize(
    ("delay", "wait"), [("34s", 34), ("34.5s", 34.5), ("soon", None), (3, None)]
)
def test_googles_wish_stands_in_the_body(delay: object, wait: float | None):
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    body = {"error": {"code": 429, "details": [{"reason": "x"}, info]}}
    assert retry_after({}, body, NOW) == wait


def test_the_header_comes_before_the_body():
    body = {"error": {"details": [{"retryDelay": "34s"}]}}
    assert retry_after({"retry-after": "1"}, body, NOW) == 1
