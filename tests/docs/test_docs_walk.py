"""Does the first hour go as docs/first-hour.md has it, pasted block after block?"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess

import pytest

from tests.conftest import StartGateway
from tests.docs.documents import ROOT, Document
from tests.gateway_process import PYTHON

WALK = Document.read("docs/first-hour.md")
# What the walk says will be seen, in this order.
SEEN = (
    "Hello, Sluice!",
    "x-sluice-cost-usd: 0.000051000",
    "Budget team:research/day: hard, $0.010000",
    "200\n200\n200\n200\n429\n",
    "insufficient_quota",
    "And now?",
    "200\n200\n",
    "retry-after: ",
    "rate_limit_exceeded",
    "no faults",
    "sent to shaky/some-model",
    "x-sluice-attempts: 4",
    "x-sluice-cache: miss",
    "x-sluice-cache: hit",
    "x-sluice-saved-usd: ",
    "upstream_connection_failed",
    "attempt_ended",
    "Credential shaky/default",
    "sluice top",
    "No faults",
    "research",
    "credential.create",
    'sluice_calls_total{model="echo/echo",status="200"}',
)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walk uses curl")
async def test_the_first_hour_works_as_pasted(start_gateway: StartGateway) -> None:
    gateway = await start_gateway((ROOT / "config.toml").read_text("utf-8"))
    sluice = gateway.home / "scripts/sluice"
    sluice.parent.mkdir()
    sluice.write_text(f'#!/bin/sh\nexec {shlex.quote(PYTHON)} -m gateway "$@"\n')
    sluice.chmod(0o755)
    blocks = [block.text for block in WALK.blocks("sh") if block.text.strip() != "scripts/serve"]
    typed = "".join(blocks).replace("http://127.0.0.1:8080", gateway.url)
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-eu"],
        input=typed.replace("sluice explain ", f"sluice explain --url {gateway.url} "),
        cwd=gateway.home,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert re.search(".*?".join(map(re.escape, SEEN)), done.stdout, re.DOTALL), said
