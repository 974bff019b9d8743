"""Does the log say what happened, and nothing that it must not say?"""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import orjson

from gateway.calllog import CallLog
from gateway.exchange import JSON
from gateway.record import call_record
from gateway.trace import (
    AttemptAnswered,
    AttemptEnded,
    AttemptSent,
    AttemptStarted,
    Identified,
    Routed,
)
from gateway.usage import Usage
from tests.builders import KEY, SECRET, call, target

PROMPT = "the quick brown fox"


def line(*costs: int | None, status: int = 200, error: str | None = None) -> JSON:
    """The line of a call with one attempt for each cost."""
    out = io.BytesIO()
    asked = call(PROMPT, credential="sk-virtual", headers={"x-secret": "sk-header"})
    asked.trace.add(Identified(KEY))
    asked.trace.add(Routed("m", None, (target("p/a"),)))
    for number, cost in enumerate(costs, 1):
        asked.trace.add(AttemptStarted(number, target("p/a"), 0.1))
        asked.trace.add(AttemptSent(number, 0.1))
        asked.trace.add(AttemptAnswered(number, 0.2))
        usage = Usage(prompt_tokens=3, completion_tokens=2)
        asked.trace.add(
            AttemptEnded(number=number, charge_id="c", at_s=0.3, usage=usage, cost_nano_usd=cost)
        )
    CallLog(out).call_ended(asked, call_record(asked, status, error))
    text = out.getvalue()
    for hidden in (PROMPT, "sk-virtual", "sk-header", SECRET):
        assert hidden.encode() not in text
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    found: JSON = orjson.loads(text)
    return found


def test_a_call_is_one_line_of_json() -> None:
    found = line(700, 30)
    assert found["event"] == "call"
    assert (found["call_id"], found["key"], found["team"]) == ("call_1", "k1", "red")
    assert (found["model"], found["target"], found["stream"]) == ("m", "p/a", False)
    assert (found["status"], found["error"], found["attempts"]) == (200, None, 2)
    assert (found["prompt_tokens"], found["completion_tokens"]) == (6, 4)
    assert found["cost_nano_usd"] == 730


def test_a_call_without_attempts_cost_nothing() -> None:
    found = line(status=403, error="model_not_allowed")
    assert (found["status"], found["error"]) == (403, "model_not_allowed")
    assert (found["attempts"], found["cost_nano_usd"]) == (0, 0)


def test_an_unknown_price_is_not_written_as_no_cost() -> None:
    assert line(None)["cost_nano_usd"] is None
    assert line(700, None)["cost_nano_usd"] is None


def test_a_line_of_a_caller_cannot_look_like_two() -> None:
    out = io.BytesIO()
    asked = call(body={"model": 'x"\n{"event": "call"}'})
    CallLog(out).call_ended(asked, call_record(asked, 404, "model_not_found"))
    assert out.getvalue().count(b"\n") == 1
    assert orjson.loads(out.getvalue())["model"] == asked.model


def test_a_log_that_nobody_takes_fails_no_call() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    asked = call()
    with os.fdopen(writing, "wb", buffering=0) as out:
        CallLog(out).call_ended(asked, call_record(asked, 200, None))


def test_a_log_that_is_not_read_holds_nothing_up_and_says_later_what_it_lost() -> None:
    reading, writing = os.pipe()
    asked = call(body={"model": "m" * 256})
    record = call_record(asked, 200, None)
    with os.fdopen(writing, "wb", buffering=0) as out, os.fdopen(reading, "rb") as pipe:
        log = CallLog(out)
        for _ in range(1000):  # a pipe holds fewer
            log.call_ended(asked, record)
        os.set_blocking(reading, False)
        written = pipe.read().count(b"\n")
        log.call_ended(asked, record)
        lost, last = pipe.read().splitlines()
    assert orjson.loads(lost) == {"event": "lost", "calls": 1000 - written}
    assert orjson.loads(last)["event"] == "call"


def test_lines_are_gathered_and_written_together_in_order() -> None:
    out, later = io.BytesIO(), list[Callable[[], None]]()
    log = CallLog(out, later.append)
    for number in range(100):
        asked = call(body={"model": f"m{number}"})
        log.call_ended(asked, call_record(asked, 200, None))
    assert out.getvalue() == b""
    (flush,) = later
    flush()
    models = [orjson.loads(text)["model"] for text in out.getvalue().splitlines()]
    assert models == [f"m{number}" for number in range(100)]
    asked = call()
    log.call_ended(asked, call_record(asked, 200, None))
    assert len(later) == 2
    log.flush()
    assert len(out.getvalue().splitlines()) == 101
    later[1]()  # there is nothing left to write
    assert len(out.getvalue().splitlines()) == 101
