"""A virtual terminal: a command whose input and output are one, as a person has it.

with Terminal(["top"], environ) as terminal:
    terminal.until("calls/s")
    terminal.press("q")
    assert terminal.status() == 0
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

_WITHIN_S = 30.0
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """80 columns wide unless said otherwise. `shown` is all text so far, without its colours."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], width: int = 100
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            env={"PATH": os.environ["PATH"], "TERM": "xterm", **environ},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._raw = ""

    @property
    def shown(self) -> str:
        return _SEQUENCE.sub("", self._raw)

    def until(self, text: str) -> str:
        """What is shown when this is. Fails where it never is."""
        ends = time.monotonic() + _WITHIN_S
        while text not in self.shown:
            ready, _, _ = select.select([self._master], [], [], max(0, ends - time.monotonic()))
            assert ready, f"{text!r} is not shown, but {self.shown!r}"
            assert self._read(), f"it ended without {text!r}: {self.shown!r}"
        return self.shown

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def status(self) -> int:
        """Of its end."""
        while self._read():
            pass
        return self._process.wait(_WITHIN_S)

    def _read(self) -> bool:
        try:
            found = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self._raw += found.decode("utf-8", "replace")
        return bool(found)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)
