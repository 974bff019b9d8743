"""Requests: what does a caller's body ask for, and is it a chat completion request at all?"""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.exchange import JSON
from gateway.wire.chat import CHAT, CONTROLS
from gateway.wire.document import parse_document
from gateway.wire.fault import Fault, wrong_type

_PART_NEEDS = {"image_url": "vision", "input_audio": "audio"}


def parse_chat_request(raw: bytes) -> tuple[JSON, JSON]:
    """The checked body without its `sluice` object, and that object: the gateway's controls.

    Values are as the caller wrote them and unknown fields are kept. Raises InvalidRequest, with
    the place of the first fault as `param`; never anything else, and in linear time.
    """
    body = parse_document(raw)
    try:
        if type(body) is not dict:
            raise wrong_type("a JSON object", body)
        controls = _controls(body)
        CHAT(body)
    except Fault as fault:
        raise fault.refusal() from None
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return body, controls


def _controls(body: JSON) -> JSON:
    controls: JSON | None = body.pop("sluice", None)
    if controls is None:
        return {}
    try:
        CONTROLS(controls)
    except Fault as fault:
        fault.inside("sluice")
        raise
    return {name: value for name, value in controls.items() if value is not None}


def requested_capabilities(body: JSON) -> frozenset[str]:
    """What a target must be able to do: some of `vision`, `audio`, `tools`, `json_schema`.

    `body` is one that `parse_chat_request` returned.
    """
    part_types: set[str] = set()
    for message in body["messages"]:
        content = message.get("content")
        if type(content) is list:
            part_types.update([part["type"] for part in content])
    needs = {need for kind, need in _PART_NEEDS.items() if kind in part_types}
    if body.get("tools") or body.get("functions"):
        needs.add("tools")
    if body.get("audio") or "audio" in (body.get("modalities") or ()):
        needs.add("audio")
    if (body.get("response_format") or {}).get("type") == "json_schema":
        needs.add("json_schema")
    return frozenset(needs)
