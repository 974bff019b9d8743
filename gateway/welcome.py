"""The first words: where does the gateway listen, which keys were made, what to paste?

Secrets are shown once, and only to a terminal. Anywhere else (a service, a container, a pipe)
they go to a file that only its owner can read, and the printed call reads the key from there.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from gateway.store.adminkey import FirstKeys

_BODY = '{"model": "echo", "messages": [{"role": "user", "content": "Hello, Sluice!"}]}'


def welcome(
    out: TextIO,
    *,
    host: str,
    ports: Sequence[int],
    providers: Sequence[str],
    first: FirstKeys,
    home: Path,
    dashboard_host: str | None = None,
) -> None:
    """Print the greeting of a start. `home` is the directory for the file of secrets.

    A second port is that of administration; the dashboard, if there is one, is on the last.
    """
    url = f"http://{_reachable(host)}:{ports[0]}"
    lines = [f"Sluice listens on {url}", *(f"Administration: port {port}" for port in ports[1:])]
    if dashboard_host is not None:
        at = f"http://{_reachable(dashboard_host)}:{ports[-1]}/"
        lines.append(f"Dashboard: {at} (sign in with the admin key)")
    lines.append(f"Providers: {', '.join(providers)}")
    if first.key or first.admin_secret:
        lines += _keys_on_terminal(first) if out.isatty() else _keys_in_file(first, home)
    if first.key:
        secret = first.key.secret if out.isatty() else _read_back(_secrets_file(home))
        lines += ["", "Try it:", "", curl(url, secret), ""]
    print("\n".join(lines), file=out, flush=True)


def curl(url: str, secret: str) -> str:
    """A call that works as pasted into a shell."""
    return (
        f"curl {url}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {secret}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(_BODY)}"
    )


def _keys_on_terminal(first: FirstKeys) -> list[str]:
    lines = ["", "Keys made by this first start. They are shown only now:"]
    if first.key:
        lines.append(f"  virtual key  {first.key.secret}")
    if first.admin_secret:
        lines.append(f"  admin key    {first.admin_secret}")
    return lines


def _keys_in_file(first: FirstKeys, home: Path) -> list[str]:
    path = _secrets_file(home)
    lines = []
    if first.key:
        lines.append(f"SLUICE_KEY={first.key.secret}\n")
    if first.admin_secret:
        lines.append(f"SLUICE_ADMIN_KEY={first.admin_secret}\n")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.writelines(lines)
    return ["", f"The keys made by this first start are in {path} (only its owner can read it)."]


def _secrets_file(home: Path) -> Path:
    return home / "first-keys"


def _read_back(path: Path) -> str:
    return f"$(sed -n 's/^SLUICE_KEY=//p' {shlex.quote(str(path))})"


def _reachable(host: str) -> str:
    """An address that a client on this machine can use."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
