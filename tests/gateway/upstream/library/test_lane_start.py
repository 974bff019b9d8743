"""Loading litellm: when, how quietly, and what the first call costs after it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from gateway.exchange import Stream
from gateway.upstream.library import LibraryLane
from tests.fakes.upstream import Upstream, json_answer
from tests.fakes.wires import LITELLM_WARNINGS, WIRES, call, target

pytestmark = LITELLM_WARNINGS


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_importing_the_lane_imports_neither_litellm_nor_httpx():
    code = (
        "import sys, gateway.upstream.library as _;"
        "print([name for name in ('litellm', 'httpx', 'openai') if name in sys.modules])"
    )
    assert run(code) == "[]"


START = """
import asyncio, socket, sys, time
asked = []
def refuse(*args, **kwargs):
    asked.append(args)
    raise OSError("no network")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
sys.path.insert(0, ".")
from gateway.exchange import Stream
from gateway.upstream.library import LibraryLane
from tests.fakes.wires import WIRES

async def main():
    lane = LibraryLane(WIRES)
    await lane.load()
    await lane.load()
    await lane.aclose()

asyncio.run(main())
print(asked)
"""


def test_a_start_touches_no_network_and_says_nothing():
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_call_does_not_stall_the_loop(lane: LibraryLane):
    """Each kind's first real call after the rehearsal. The ceiling is generous; it takes ~5 ms."""
    loop, worst = asyncio.get_running_loop(), 0.0

    async def metronome() -> None:
        nonlocal worst
        last = loop.time()
        while True:
            await asyncio.sleep(0.001)
            now = loop.time()
            worst, last = max(worst, now - last), now

    ticking = asyncio.create_task(metronome())
    for wire in WIRES.values():
        for answer, stream in (
            (json_answer(wire.document("Hi")), False),
            (wire.stream(*wire.begin("Hi"), *wire.end()), True),
        ):
            async with Upstream(answer) as upstream:
                reply = await lane(call(target(wire, upstream.url), stream=stream))
                if isinstance(reply, Stream):
                    [events async for events in reply]
    ticking.cancel()

    assert worst < 0.25
