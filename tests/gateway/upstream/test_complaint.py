from typing import Any

import orjson
import pytest

from gateway.upstream.complaint import Complaint, complaint, fold


@pytest.mark.parametrize(
    ("body", "message", "code", "param"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "some_code"}},
            "m",
            "some_code",
            "p",
        ),
        (
            {"object": "error", "message": "m", "type": "t", "param": None, "code": 400},
            "m",
            None,
            None,
        ),
        ({"type": "error", "error": {"type": "t", "message": "m"}}, "m", None, None),
        ({"error": {"code": 400, "status": "S", "message": "m"}}, "m", None, None),
        ([{"error": {"code": 400, "status": "S", "message": "m"}}], "m", None, None),
        ({"message": "m"}, "m", None, None),
        ({"Message": "m"}, "m", None, None),
        ({"error": "m", "code": "Some words"}, "m", None, None),
        ({"detail": "m"}, "m", None, None),
        (
            {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "bad"}]},
            "messages.0.role: bad",
            None,
            "messages.0.role",
        ),
        ({"message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}}, "n: bad", None, "n"),
    ],
)
def test_every_shape_is_read(body: Any, message: str, code: str | None, param: str | None):
    said = complaint({}, orjson.dumps(body))
    assert (said.message, said.code, said.param) == (message, code, param)


@pytest.mark.parametrize(
    "body", [None, b"", b"{", b"<html>no</html>", b"[]", b"1", b"null", b"[1]"]
)
def test_what_is_no_complaint_says_nothing(body: bytes | None):
    assert complaint({}, body) == Complaint()


@pytest.mark.parametrize(
    "body",
    [
        {"error": []},
        {"error": {"message": 1, "code": [], "details": {}, "innererror": 3}},
        {"detail": [1, {"loc": 3}]},
        {"error": {"code": "x y" * 100}},
        {"message": None},
    ],
)
def test_odd_types_do_not_raise(body: Any):
    complaint({"x-amzn-errortype": ""}, orjson.dumps(body))


def test_plain_text_is_a_message():
    assert complaint({}, b" upstream timed out \n").message == "upstream timed out"


def test_awss_class_stands_in_a_header_or_in_the_body():
    header = {"X-Amzn-ErrorType": "ValidationException:http://internal.amazon.com/"}
    assert fold("ValidationException") in complaint(header, b'{"message":"m"}').names
    assert fold("ValidationException") in complaint({}, b'{"__type":"a#ValidationException"}').names


def test_all_names_are_kept_in_one_spelling():
    body = {
        "error": {
            "code": "content_filter",
            "innererror": {"code": "ResponsibleAIPolicyViolation"},
            "details": [{"reason": "API_KEY_INVALID"}],
        }
    }
    names = complaint({}, body).names
    assert names >= {"contentfilter", "responsibleaipolicyviolation", "apikeyinvalid"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 503}}, 503),
        ({"error": {"code": "429"}}, 429),
        ({"statusCode": 401}, 401),
        ({"error": {"code": 7}}, None),
        ({"error": {"code": "1000"}}, None),
    ],
)
def test_a_status_in_the_body_is_read(body: Any, status: int | None):
    assert complaint({}, body).status == status
