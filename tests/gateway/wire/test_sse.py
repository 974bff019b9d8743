"""Server-sent events are the same wherever the reads were cut."""

from __future__ import annotations

import pytest

from gateway.wire.sse import LineTooLong, Splitter

TEXT = (
    "\ufeff: a comment\n\n"
    'data: {"a": "ä€😀"}\n\n'
    "event: message\nid: 7\ndata: one\n\n"
    "retry: 10\n\n"
    "data: two\ndata: lines\n\n"
    "data:unspaced\n\n"
    ":\n: more\ndata: after comments\n\n"
    "data\n\n"
    "data: [DONE]\n\n"
).encode()
WANTED = [
    '{"a": "ä€😀"}'.encode(),
    b"one",
    b"two\nlines",
    b"unspaced",
    b"after comments",
    b"",
    b"[DONE]",
]


def split(pieces: list[bytes]) -> list[bytes]:
    splitter = Splitter(1000)
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    return [frame.data for frame in frames + splitter.end()]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_cut_at_any_byte_changes_nothing(line_end: bytes) -> None:
    text = TEXT.replace(b"\n", line_end)
    assert split([text]) == WANTED
    for cut in range(len(text)):
        assert split([text[:cut], text[cut:]]) == WANTED, cut


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_single_bytes_make_the_same_events(line_end: bytes) -> None:
    text = TEXT.replace(b"\n", line_end)
    assert split([text[i : i + 1] for i in range(len(text))]) == WANTED


def test_a_plain_event_is_forwarded_byte_for_byte() -> None:
    raw = b'data: {"x" :  1}\n\n'
    assert [frame.raw for frame in Splitter(100).feed(raw)] == [raw]


def test_an_event_of_several_lines_is_forwarded_as_such() -> None:
    (frame,) = Splitter(100).feed(b"event: e\ndata: a\ndata: b\n\n")
    assert frame.raw == b"data: a\ndata: b\n\n"
    assert frame.name == b"e"


def test_an_event_without_its_blank_line_counts_at_the_end() -> None:
    splitter = Splitter(100)
    assert splitter.feed(b"data: [DONE]") == []
    assert [frame.data for frame in splitter.end()] == [b"[DONE]"]


def test_an_endless_line_is_refused() -> None:
    splitter = Splitter(10)
    with pytest.raises(LineTooLong):
        splitter.feed(b"data: 12345678901")
